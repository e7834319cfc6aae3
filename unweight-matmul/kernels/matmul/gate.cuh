// Pairs of BF16 values in a word, the first in the lower half, and the gate of a matmul's epilogue: silu(gate) * up.
#pragma once
#include "ptx/mma.cuh"

namespace unweight::matmul {

__device__ __forceinline__ uint32_t bf16_pair(float first, float second) {
  return ptx::to_bf16(first) | static_cast<uint32_t>(ptx::to_bf16(second)) << 16;
}
__device__ __forceinline__ float bf16_first(uint32_t pair) { return ptx::from_bf16(static_cast<uint16_t>(pair)); }
__device__ __forceinline__ float bf16_second(uint32_t pair) {
  return ptx::from_bf16(static_cast<uint16_t>(pair >> 16));
}

__device__ __forceinline__ float silu_mul(float gate, float up) { return gate / (1 + expf(-gate)) * up; }

__device__ __forceinline__ uint32_t silu_mul(uint32_t gates, uint32_t ups) {
  return bf16_pair(silu_mul(bf16_first(gates), bf16_first(ups)), silu_mul(bf16_second(gates), bf16_second(ups)));
}

}  // namespace unweight::matmul
