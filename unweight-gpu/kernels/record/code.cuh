// The canonical Huffman code of a record (specification, section 6).
#pragma once
#include "abi/status.cuh"

namespace unweight::record {

// Length of the code of palette entry `entry`, from the header's `code_lengths`.
__device__ __forceinline__ uint32_t length_of(uint2 code_lengths, uint32_t entry) {
  const uint32_t word = entry < 8 ? code_lengths.x : code_lengths.y;
  return word >> (entry % 8 * 4) & 15;
}

// Length of the code of palette entry `lane`. Lanes from 16 on have no code.
__device__ __forceinline__ uint32_t length_of_lane(uint2 code_lengths, uint32_t lane) {
  return lane < PALETTE_ENTRIES ? length_of(code_lengths, lane) : NO_CODE;
}

// The first string of this lane's code, which has `length` bits; 0 without a code.
//
// A code of L bits owns 2^(8-L) of the 256 strings of 8 bits, first bit highest. Codes follow one another in canonical
// order: by length, then by entry. Calls `taken(bits, strings)` for 0 to 8 bits, where `strings` is the number of
// strings that codes of at most `bits` bits own.
template <class Taken>
__device__ __forceinline__ uint32_t first_string(uint32_t length, uint32_t lane, const Taken& taken) {
  uint32_t strings = 0, first = 0;
#pragma unroll
  for (uint32_t bits = 0; bits <= LONGEST_CODE_BITS; bits++) {
    const uint32_t entries = __ballot_sync(ALL_LANES, length == bits);
    if (length == bits)
      first = strings + static_cast<uint32_t>(__popc(entries & ((1u << lane) - 1))) * (CODE_TABLE_ENTRIES >> bits);
    strings += static_cast<uint32_t>(__popc(entries)) * (CODE_TABLE_ENTRIES >> bits);
    taken(bits, strings);
  }
  return first;
}

// Returns 0, or the rule that the code lengths break. The palette has `entries` entries.
__device__ inline uint32_t check_code(uint2 code_lengths, uint32_t lane, uint32_t entries) {
  const uint32_t length = length_of_lane(code_lengths, lane);
  const bool unknown = (length > LONGEST_CODE_BITS || lane >= entries) && length != NO_CODE;
  const uint32_t strings = length <= LONGEST_CODE_BITS ? CODE_TABLE_ENTRIES >> length : 0;
  const uint32_t sum = __reduce_add_sync(ALL_LANES, strings);
  if (__any_sync(ALL_LANES, unknown)) return CODE_LENGTH;
  if (sum > CODE_TABLE_ENTRIES) return CODE_OVERSUBSCRIBED;
  return sum < CODE_TABLE_ENTRIES ? CODE_INCOMPLETE : 0;
}

}  // namespace unweight::record
