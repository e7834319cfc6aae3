// Integer types, warp constants and dynamic shared memory, on a GPU and on the CPU emulator of the host tests.
//
// The host tests define UNWEIGHT_HOST. The emulator (host-kernels/emulator) then supplies CUDA's built-ins and the
// wrappers of ptx/ that the emulated modules call.
#pragma once

#ifdef UNWEIGHT_HOST
#include "emulator/cuda.hpp"
#include "emulator/ptx.hpp"
#else
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#ifdef __CUDACC_RTC__
// NVRTC has no <cstddef>.
#define offsetof(type, field) __INTADDR__(&((type*)0)->field)
#endif
// Dynamic shared memory of a block.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(256) uint4 name[]
#endif

namespace unweight {

constexpr uint32_t WARP = 32;
constexpr uint32_t ALL_LANES = 0xffffffffu;

}  // namespace unweight
