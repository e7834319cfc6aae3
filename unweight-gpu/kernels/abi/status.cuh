// The status word of a launch: the first bad record, and the rule that it breaks.
#pragma once
#include "abi/bitstream.cuh"

namespace unweight::abi {

// Rules that a record or a block can break, in the order in which the reference finds them. `src/decode/status.rs`
// names them.
enum Rule : uint32_t {
  RECORD_CRC = 1,
  RECORD_KIND,
  RECORD_FORM,
  RECORD_RESERVED,
  CODE_LENGTH,
  CODE_OVERSUBSCRIBED,
  CODE_INCOMPLETE,
  LANE_ENDS,
  RECORD_LENGTH,
  RECORD_PADDING,
  PATCH_ORDER,
  PATCH_POSITION,
  PATCH_VALUE,
  LANE_OVERRUN,
  LANE_UNDERRUN,
  LANE_PADDING,
  BLOCK_CRC,
};

// The word becomes the least `chunk << 11 | field << 8 | rule`: the first bad chunk of the launch, the number of its
// first coded field whose record is bad, and the rule that the reference reports for it.
__device__ __forceinline__ void report(unsigned long long* status, uint32_t chunk, uint32_t field, uint32_t rule) {
  atomicMin(status, static_cast<unsigned long long>(chunk) << 11 | field << 8 | rule);
}

}  // namespace unweight::abi
