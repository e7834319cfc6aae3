// A block of CUDA threads on the CPU: one fiber for each thread, one block at a time for each thread of the system. The kernels' source
// is unchanged; what they may use is what stands here. Warp collectives and barriers switch fibers, so a missing
// barrier, a lane that does not take part, and a write out of bounds (with AddressSanitizer) are found. The order of threads is shuffled by a seed.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(name) uint4* name = reinterpret_cast<uint4*>(fibers::shared_memory())

struct dim3 {
  unsigned x, y, z;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }

#ifdef __SANITIZE_ADDRESS__
extern "C" void __asan_unpoison_memory_region(void const volatile* start, size_t bytes);
#endif

namespace fibers {

// Saves the callee-saved registers and the stack pointer of one fiber, and goes on with another.
extern "C" void unweight_switch_fiber(void** save, void* load);

struct Fiber {
  void* stack_pointer;
  dim3 index;
  unsigned number;
  bool done;
};
// Collectives of one warp: values come in, all leave with a copy of them.
struct Exchange {
  uint64_t in[32], out[2][32];
  uint32_t arrived = 0, generation = 0;
};
struct Block {
  std::vector<Fiber> threads;
  std::vector<Exchange> warps;
  std::vector<uint4> shared;
  dim3 index;
  unsigned live = 0, waiting = 0, barrier_generation = 0, current = 0;
  bool progress = false;
  void* scheduler = nullptr;
  const std::function<void()>* body = nullptr;
};
inline thread_local Block* block = nullptr;

[[noreturn]] inline void fail(const char* why) {
  std::fprintf(stderr, "kernel on the CPU: %s (block %u, thread %u)\n", why, block->index.x, block->threads[block->current].number);
  std::abort();
}
inline uint4* shared_memory() { return block->shared.data(); }
inline Fiber& current() { return block->threads[block->current]; }
inline void yield() { unweight_switch_fiber(&current().stack_pointer, block->scheduler); }

inline void enter() {
  (*block->body)();
  current().done = true;
  block->live--;
  block->progress = true;
  void* never;
  unweight_switch_fiber(&never, block->scheduler);
}

inline const uint64_t* exchange(uint32_t mask, uint64_t value) {
  if (mask != ~0u) fail("collectives of a part of a warp are not known here");
  Exchange& warp = block->warps[current().number / 32];
  const unsigned lane = current().number % 32;
  const uint32_t generation = warp.generation;
  warp.in[lane] = value;
  warp.arrived |= 1u << lane;
  block->progress = true;
  if (warp.arrived == ~0u) {
    std::copy(warp.in, warp.in + 32, warp.out[generation % 2]);
    warp.arrived = 0;
    warp.generation++;
  }
  while (warp.generation == generation) yield();
  return warp.out[generation % 2];
}

inline void barrier() {
  const unsigned generation = block->barrier_generation;
  block->progress = true;
  if (block->live != block->threads.size()) fail("a barrier after some threads have ended");
  if (++block->waiting == block->threads.size()) {
    block->waiting = 0;
    block->barrier_generation++;
  }
  while (block->barrier_generation == generation) yield();
}

// Runs `body` as a kernel of `blocks` blocks of `threads` threads. `seed` orders the threads; shared memory begins poisoned.
inline void launch(unsigned blocks, unsigned threads, size_t shared_bytes, uint64_t seed, const std::function<void()>& body) {
  constexpr size_t STACK_BYTES = 64 << 10;
  std::vector<char> stacks(STACK_BYTES * threads);
  Block running;
  block = &running;
  running.body = &body;
  uint64_t random = 2 * seed + 1;
  for (unsigned number = 0; number < blocks; number++) {
    running.index = {number, 0, 0};
    running.threads.assign(threads, Fiber{});
    running.warps.assign((threads + 31) / 32, Exchange{});
    running.shared.assign((shared_bytes + 15) / 16, uint4{0xa5a5a5a5, 0xa5a5a5a5, 0xa5a5a5a5, 0xa5a5a5a5});
    running.live = threads;
#ifdef __SANITIZE_ADDRESS__
    // Fibers of the block before never returned, so their frames' red zones still stand.
    __asan_unpoison_memory_region(stacks.data(), stacks.size());
#endif
    for (unsigned i = 0; i < threads; i++) {
      // What the switch pops: six registers, then where to return to.
      auto* top = reinterpret_cast<uint64_t*>(reinterpret_cast<uintptr_t>(stacks.data() + STACK_BYTES * (i + 1)) & ~uintptr_t(15));
      *--top = 0;
      *--top = reinterpret_cast<uint64_t>(&enter);
      for (int saved = 0; saved < 6; saved++) *--top = 0;
      running.threads[i] = {top, {i, 0, 0}, i, false};
    }
    std::vector<unsigned> order(threads);
    std::iota(order.begin(), order.end(), 0);
    for (unsigned i = threads; seed != 0 && i > 1; i--) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      std::swap(order[i - 1], order[(random >> 33) % i]);
    }
    while (running.live != 0) {
      running.progress = false;
      for (unsigned thread : order) {
        if (running.threads[thread].done) continue;
        running.current = thread;
        unweight_switch_fiber(&running.scheduler, running.threads[thread].stack_pointer);
      }
      if (!running.progress && running.live != 0) fail("every thread waits");
    }
  }
  block = nullptr;
}

}  // namespace fibers

#define threadIdx (fibers::current().index)
#define blockIdx (fibers::block->index)
#define blockDim (dim3{static_cast<unsigned>(fibers::block->threads.size()), 1, 1})

inline void __syncthreads() { fibers::barrier(); }
inline void __threadfence() {}
inline void __syncwarp() { fibers::exchange(~0u, 0); }
inline uint32_t __shfl_sync(uint32_t mask, uint32_t value, int from) { return static_cast<uint32_t>(fibers::exchange(mask, value)[from & 31]); }
inline uint32_t __shfl_up_sync(uint32_t mask, uint32_t value, unsigned by) {
  const unsigned lane = fibers::current().number % 32;
  const uint64_t* all = fibers::exchange(mask, value);
  return static_cast<uint32_t>(lane >= by ? all[lane - by] : value);
}
inline uint32_t __shfl_xor_sync(uint32_t mask, uint32_t value, int with) {
  const unsigned lane = fibers::current().number % 32;
  return static_cast<uint32_t>(fibers::exchange(mask, value)[lane ^ with]);
}
inline uint32_t __ballot_sync(uint32_t mask, bool vote) {
  const uint64_t* all = fibers::exchange(mask, vote);
  uint32_t votes = 0;
  for (unsigned lane = 0; lane < 32; lane++) votes |= static_cast<uint32_t>(all[lane]) << lane;
  return votes;
}
inline bool __any_sync(uint32_t mask, bool vote) { return __ballot_sync(mask, vote) != 0; }
template <class Join>
inline uint32_t joined_over_lanes(uint32_t mask, uint32_t value, const Join& join) {
  const uint64_t* all = fibers::exchange(mask, value);
  return static_cast<uint32_t>(std::accumulate(all + 1, all + 32, all[0], join));
}
inline uint32_t __reduce_add_sync(uint32_t mask, uint32_t value) { return joined_over_lanes(mask, value, std::plus<uint64_t>()); }
inline uint32_t __reduce_or_sync(uint32_t mask, uint32_t value) { return joined_over_lanes(mask, value, std::bit_or<uint64_t>()); }
inline uint32_t __reduce_xor_sync(uint32_t mask, uint32_t value) { return joined_over_lanes(mask, value, std::bit_xor<uint64_t>()); }
inline uint32_t __reduce_min_sync(uint32_t mask, uint32_t value) {
  return joined_over_lanes(mask, value, [](uint64_t a, uint64_t b) { return std::min(a, b); });
}
inline uint32_t __reduce_max_sync(uint32_t mask, uint32_t value) {
  return joined_over_lanes(mask, value, [](uint64_t a, uint64_t b) { return std::max(a, b); });
}
inline uint32_t select_bits(uint32_t mask, uint32_t a, uint32_t b) { return (a & mask) | (b & ~mask); }
inline void add_common_bits(uint32_t (&counts)[4], const uint32_t (&rows)[4], uint2 columns) {
  const auto pairs_of = [](uint32_t first, uint32_t second) {
    const uint64_t* all = fibers::exchange(~0u, static_cast<uint64_t>(second) << 32 | first);
    std::array<uint64_t, 32> copy;
    std::copy(all, all + 32, copy.begin());
    return copy;
  };
  // Both of a lane's words of a row, or of a column.
  const std::array<uint64_t, 32> of_rows[2] = {pairs_of(rows[0], rows[2]), pairs_of(rows[1], rows[3])}, of_columns = pairs_of(columns.x, columns.y);
  const unsigned lane = fibers::current().number % 32;
  for (unsigned i = 0; i < 4; i++) {
    const unsigned row = lane / 4, column = lane % 4 * 2 + i % 2;
    for (unsigned t = 0; t < 4; t++) counts[i] += static_cast<uint32_t>(__builtin_popcountll(of_rows[i / 2][4 * row + t] & of_columns[4 * column + t]));
  }
}
inline void count_common_bits(uint32_t (&counts)[4], const uint32_t (&rows)[4], uint2 columns) {
  std::fill(counts, counts + 4, 0);
  add_common_bits(counts, rows, columns);
}
inline void atomicMin(unsigned long long* at, unsigned long long value) { *at = std::min(*at, value); }
inline uint32_t atomicAdd(uint32_t* at, uint32_t value) { return (*at += value) - value; }
inline void atomicAdd(unsigned long long* at, unsigned long long value) { *at += value; }
inline uint32_t atomicOr(uint32_t* at, uint32_t value) {
  const uint32_t before = *at;
  *at |= value;
  return before;
}
inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }
inline uint32_t min(uint32_t a, uint32_t b) { return std::min(a, b); }
inline uint32_t max(uint32_t a, uint32_t b) { return std::max(a, b); }
inline int __ffs(uint32_t bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline uint32_t __brev(uint32_t bits) {
  uint32_t reversed = 0;
  for (int i = 0; i < 32; i++) reversed |= (bits >> i & 1) << (31 - i);
  return reversed;
}
inline uint32_t __funnelshift_r(uint32_t low, uint32_t high, uint32_t by) {
  return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> (by % 32));
}
inline uint32_t __funnelshift_l(uint32_t low, uint32_t high, uint32_t by) {
  return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) << (by % 32) >> 32);
}
inline uint32_t __funnelshift_rc(uint32_t low, uint32_t high, uint32_t by) { return by >= 32 ? high : __funnelshift_r(low, high, by); }
inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
  uint32_t chosen = 0;
  for (int i = 0; i < 4; i++) chosen |= static_cast<uint32_t>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return chosen;
}
inline uint32_t select_bytes(uint32_t low, uint32_t high, uint32_t selectors) {
  return __byte_perm(low, high, selectors) & ~__byte_perm(0xff00, 0, selectors >> 3 & 0x1111);
}
inline uint32_t __dp4a(uint32_t a, uint32_t b, uint32_t sum) {
  for (int i = 0; i < 4; i++) sum += (a >> 8 * i & 0xff) * (b >> 8 * i & 0xff);
  return sum;
}
inline void store_streaming(uint4* at, uint4 value) { *at = value; }
inline void store_streaming(uint2* at, uint2 value) { *at = value; }
inline uint2 load_read_only(const uint2* at) { return *at; }
inline uint4 load_read_only(const uint4* at) { return *at; }
inline uint2 load_streaming(const uint2* at) { return *at; }
inline uint4 load_streaming(const uint4* at) { return *at; }
// Blocks run one after the other.
inline void publish(unsigned long long* at, unsigned long long value) { *at = value; }
inline unsigned long long observed(const unsigned long long* at) { return *at; }
inline uint4 observed(const uint4* at) { return *at; }
inline void add_to_global(unsigned long long* at, unsigned long long value) { *at += value; }
// Done at once: the kernels wait before they read.
inline void copy_async(uint4* to_shared, const uint4* from) { *to_shared = *from; }
inline void copies_done() {}
inline uint32_t place_in_shared(const void* at) {
  return static_cast<uint32_t>(static_cast<const uint8_t*>(at) - reinterpret_cast<const uint8_t*>(fibers::shared_memory()));
}
inline uint32_t load_shared_byte(uint32_t address) { return reinterpret_cast<const uint8_t*>(fibers::shared_memory())[address]; }
inline uint32_t load_shared_word(uint32_t address) { return reinterpret_cast<const uint32_t*>(fibers::shared_memory())[address / 4]; }
inline void store_shared_word(uint32_t address, uint32_t word) { reinterpret_cast<uint32_t*>(fibers::shared_memory())[address / 4] = word; }
inline uint32_t lowest_bits(uint32_t word, uint32_t count) { return count >= 32 ? word : word & ((1u << count) - 1); }
