// The gate of a matmul's epilogue: silu(gate) * up. Two BF16 values in a word, the first in the lower half.
#pragma once
#include "ptx/mma.cuh"

namespace unweight::matmul {

__device__ __forceinline__ uint32_t bf16_pair(float first, float second) {
  return ptx::to_bf16(first) | static_cast<uint32_t>(ptx::to_bf16(second)) << 16;
}

__device__ __forceinline__ float silu_mul(float gate, float up) { return gate / (1 + expf(-gate)) * up; }

__device__ __forceinline__ uint32_t silu_mul(uint32_t gates, uint32_t ups) {
  const auto first = [](uint32_t pair) { return ptx::from_bf16(static_cast<uint16_t>(pair)); };
  const auto second = [](uint32_t pair) { return ptx::from_bf16(static_cast<uint16_t>(pair >> 16)); };
  return bf16_pair(silu_mul(first(gates), first(ups)), silu_mul(second(gates), second(ups)));
}

}  // namespace unweight::matmul
