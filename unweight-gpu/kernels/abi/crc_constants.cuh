// Constants of checksum/crc32.cuh. Twin of the words that `src/checksum/constants.rs` makes.
#pragma once
#include "abi/bitstream.cuh"

namespace unweight::abi {

// Constants of one order of a row's words over the lanes.
struct CrcLayout {
  uint4 columns[2][WARP];  // columns of the four binary MMAs that advance by a row, a uint2 each
  uint32_t last[WARP][4]
               [4];  // powers of x for a lane's bits of the last row: word x at FIRST_BITS, word x shifted, then y
};

struct CrcConstants {
  CrcLayout by_sixteen;       // a lane's 16 bytes of a row are consecutive
  CrcLayout by_eight;         // a lane has two times 8 bytes, half a row apart
  uint32_t power[20][WARP];   // x^(8*2^k + lane)
  uint32_t inverse[9][WARP];  // x^(-8*2^k + lane)
};

}  // namespace unweight::abi
