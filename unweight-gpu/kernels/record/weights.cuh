// A lane's eight BF16 weights of a step whose exponent alone is coded, and the two kinds of bytes that they consist of
// (specification, section 4.2).
//
//   weight         | S | E E E E E E E E | M M M M M M M |   16 bits, two weights to a word
//   exponent       | E E E E E E E E |                       8 bits; also in place, at bits 7 and 23 of a word
//   sign-mantissa  | S | M M M M M M M |                     8 bits; the plain bits
#pragma once
#include "ptx/platform.cuh"

namespace unweight::record {

constexpr uint32_t EXPONENT_BITS = 0x7f807f80;

// Eight weights, two to a word.
struct EightWeights {
  uint32_t pairs[4];
};

// Eight exponents, two to a word, in place.
struct Exponents {
  uint32_t pairs[4];
};

__device__ __forceinline__ Exponents widen(uint2 eight) {
  Exponents exponents;
#pragma unroll
  for (uint32_t i = 0; i < 4; i++) {
    const uint32_t four = i < 2 ? eight.x : eight.y;
    exponents.pairs[i] = __byte_perm(four, 0, i % 2 ? 0x4342 : 0x4140) << 7;
  }
  return exponents;
}

__device__ __forceinline__ EightWeights join(const Exponents& exponents, uint2 sign_mantissa) {
  EightWeights eight;
#pragma unroll
  for (uint32_t i = 0; i < 4; i++) {
    const uint32_t bytes = i < 2 ? sign_mantissa.x : sign_mantissa.y;
    eight.pairs[i] = (__byte_perm(bytes, 0, i % 2 ? 0x3322 : 0x1100) & ~EXPONENT_BITS) | exponents.pairs[i];
  }
  return eight;
}

__device__ __forceinline__ uint2 sign_mantissa_of(const EightWeights& eight) {
  const auto four = [](uint32_t first, uint32_t second) {
    return (__byte_perm(first, second, 0x6420) & 0x7f7f7f7f) | (__byte_perm(first, second, 0x7531) & 0x80808080);
  };
  return make_uint2(four(eight.pairs[0], eight.pairs[1]), four(eight.pairs[2], eight.pairs[3]));
}

__device__ __forceinline__ uint32_t exponent_of_weight(const EightWeights& eight, uint32_t i) {
  return eight.pairs[i / 2] >> (i % 2 ? 23 : 7) & 0xff;
}

__device__ __forceinline__ uint2 exponents_of(const EightWeights& eight) {
  const auto four = [](uint32_t first, uint32_t second) { return __byte_perm(first << 1, second << 1, 0x7531); };
  return make_uint2(four(eight.pairs[0], eight.pairs[1]), four(eight.pairs[2], eight.pairs[3]));
}

// The first `count` of eight bytes, and zeros.
__device__ __forceinline__ uint2 first_bytes(uint2 eight, uint32_t count) {
  const auto mask = [&](uint32_t bytes) { return bytes >= 4 ? ~0u : (1u << 8 * bytes) - 1; };
  return make_uint2(eight.x & mask(count), eight.y & mask(count > 4 ? count - 4 : 0));
}

}  // namespace unweight::record
