# Writes wgmma.cuh (python3 wgmma.py > wgmma.cuh): an instruction with all its operands, for each count of rows of x.
print('''// y = x * W^T on Hopper's tensor cores: 64 rows of W from registers of four warps (each lane has what it has for `mma.sync.m16n8k16`, of its warp's 16 rows),
// rows of x from shared memory, sums in registers. Written by wgmma.py.
#pragma once
#include "ptx/platform.cuh"

template <uint32_t COUNT>
struct TensorCores;
''')
for n in (16, 32, 64, 128, 256):
    r = n // 2
    regs = ", ".join(f"%{i}" for i in range(r))
    outs = ", ".join(f'"+f"(sums[{i}])' for i in range(r))
    print(f'''template <>
struct TensorCores<{n}> {{
  // Adds products. `x`: a descriptor of {n} rows of 16 columns.
  static __device__ __forceinline__ void multiply(float (&sums)[{r}], const uint32_t* weights, uint64_t x) {{
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.bf16.bf16 {{{regs}}}, "
        "{{%{r}, %{r+1}, %{r+2}, %{r+3}}}, %{r+4}, 1, 1, 1, 0;"
        : {outs}
        : "r"(weights[0]), "r"(weights[1]), "r"(weights[2]), "r"(weights[3]), "l"(x)
        : "memory");
  }}
}};
''')
