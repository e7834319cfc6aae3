// Binary MMA (AND, popcount): tensor cores of compute capability 8.0 and newer.
//
// `counts` is a 16 x 8 tile, `rows` are 16 rows and `columns` 8 columns of 256 bits each. An element of the tile is the
// number of ones that its row and its column have in common. Registers of lane 4g + t:
//
//   rows      | [0] row g, word t | [1] row g + 8, word t | [2] row g, word 4 + t | [3] row g + 8, word 4 + t |
//   columns   | x: column g, word t | y: column g, word 4 + t |
//   counts    | [0], [1]: row g, columns 2t, 2t + 1 | [2], [3]: row g + 8, columns 2t, 2t + 1 |
#pragma once
#include "ptx/platform.cuh"

#ifndef UNWEIGHT_HOST
namespace unweight::ptx {

// counts = rows x columns
__device__ __forceinline__ void binary_mma(uint32_t (&counts)[4], const uint32_t (&rows)[4], uint2 columns) {
  const uint32_t none = 0;
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
      : "=r"(counts[0]), "=r"(counts[1]), "=r"(counts[2]), "=r"(counts[3])
      : "r"(rows[0]), "r"(rows[1]), "r"(rows[2]), "r"(rows[3]), "r"(columns.x), "r"(columns.y), "r"(none));
}

// counts += rows x columns
__device__ __forceinline__ void binary_mma_accumulate(uint32_t (&counts)[4], const uint32_t (&rows)[4], uint2 columns) {
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(counts[0]), "+r"(counts[1]), "+r"(counts[2]), "+r"(counts[3])
      : "r"(rows[0]), "r"(rows[1]), "r"(rows[2]), "r"(rows[3]), "r"(columns.x), "r"(columns.y));
}

}  // namespace unweight::ptx
#endif
