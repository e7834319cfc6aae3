// A block of CUDA threads on the CPU: one fiber for each thread, one block at a time for each thread of the system.
//
// Warp collectives and barriers switch fibers. So the tests find a missing barrier, a lane that takes no part in a
// collective, and with AddressSanitizer an access out of bounds. A seed shuffles the order of threads.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
extern "C" void __asan_unpoison_memory_region(void const volatile* start, size_t bytes);
#endif

namespace fibers {

// Saves the callee-saved registers and the stack pointer of one fiber, and continues another (switch_fiber.cpp).
extern "C" void unweight_switch_fiber(void** save, void* load);

struct Index {
  unsigned x, y, z;
};
struct alignas(16) Quad {
  uint32_t x, y, z, w;
};

struct Fiber {
  void* stack_pointer;
  Index index;
  unsigned number;
  bool done;
};
// Collectives of one warp: each lane puts a value in, and leaves with a copy of all.
struct Exchange {
  uint64_t in[32], out[2][32];
  uint32_t arrived = 0, generation = 0;
};
// A barrier of some threads of the block.
struct Barrier {
  unsigned waiting = 0, generation = 0;
};
struct Block {
  std::vector<Fiber> threads;
  std::vector<Exchange> warps;
  std::vector<Quad> shared;
  Index index;
  Barrier all, named[16];
  bool votes[2] = {};  // of generations of `all`
  unsigned live = 0, current = 0;
  bool progress = false;
  void* scheduler = nullptr;
  const std::function<void()>* body = nullptr;
};
inline thread_local Block* block = nullptr;

[[noreturn]] inline void fail(const char* why) {
  std::fprintf(stderr, "kernel on the CPU: %s (block %u, thread %u)\n", why, block->index.x,
               block->threads[block->current].number);
  std::abort();
}
inline Quad* shared_memory() { return block->shared.data(); }
inline Fiber& current() { return block->threads[block->current]; }
inline unsigned lane() { return current().number % 32; }
inline void yield() { unweight_switch_fiber(&current().stack_pointer, block->scheduler); }

// First function of a fiber. It never returns.
inline void enter() {
  (*block->body)();
  current().done = true;
  block->live--;
  block->progress = true;
  void* never;
  unweight_switch_fiber(&never, block->scheduler);
}

// The values of all lanes of the warp.
inline const uint64_t* exchange(uint32_t mask, uint64_t value) {
  if (mask != ~0u) fail("a collective of a part of a warp, expected all lanes");
  Exchange& warp = block->warps[current().number / 32];
  const uint32_t generation = warp.generation;
  warp.in[lane()] = value;
  warp.arrived |= 1u << lane();
  block->progress = true;
  if (warp.arrived == ~0u) {
    std::copy(warp.in, warp.in + 32, warp.out[generation % 2]);
    warp.arrived = 0;
    warp.generation++;
  }
  while (warp.generation == generation) yield();
  return warp.out[generation % 2];
}

inline void wait_at(Barrier& barrier, unsigned threads) {
  const unsigned generation = barrier.generation;
  block->progress = true;
  if (++barrier.waiting == threads) {
    barrier.waiting = 0;
    barrier.generation++;
  }
  while (barrier.generation == generation) yield();
}

inline void barrier() {
  if (block->live != block->threads.size()) fail("a barrier after some threads have ended");
  wait_at(block->all, static_cast<unsigned>(block->threads.size()));
}

// A barrier, and whether a thread voted for it.
inline bool vote(bool vote) {
  const unsigned generation = block->all.generation;
  if (block->all.waiting == 0) block->votes[generation % 2] = false;
  block->votes[generation % 2] |= vote;
  barrier();
  return block->votes[generation % 2];
}

inline void named_barrier(unsigned number, unsigned threads) { wait_at(block->named[number], threads); }

// A random order of the threads; their own order if `random` is null.
inline std::vector<unsigned> thread_order(unsigned threads, uint64_t* random) {
  std::vector<unsigned> order(threads);
  std::iota(order.begin(), order.end(), 0);
  for (unsigned i = threads; random != nullptr && i > 1; i--) {
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    std::swap(order[i - 1], order[(*random >> 33) % i]);
  }
  return order;
}

// Bytes of a fiber's stack. An odd number of cache lines, so that the same frame of all fibers is not in the same set
// of a cache.
constexpr size_t STACK_BYTES = (64 << 10) + 64;

// Stacks of so many fibers. They stay from launch to launch, because to allocate and clear them takes longer than most
// launches.
inline char* stacks_of(unsigned threads) {
  thread_local std::vector<char> stacks;
  // A new vector: the old stacks are not copied, because AddressSanitizer's red zones are in them.
  if (stacks.size() < STACK_BYTES * threads) stacks = std::vector<char>(STACK_BYTES * threads);
  return stacks.data();
}

// Runs `body` as a kernel of `blocks` blocks of `threads` threads. `seed` orders the threads; 0 leaves them in order.
// Shared memory begins filled with 0xa5.
inline void launch(unsigned blocks, unsigned threads, size_t shared_bytes, uint64_t seed,
                   const std::function<void()>& body) {
  char* stacks = stacks_of(threads);
  Block running;
  block = &running;
  running.body = &body;
  uint64_t random = 2 * seed + 1;
  for (unsigned number = 0; number < blocks; number++) {
    running.index = {number, 0, 0};
    running.threads.assign(threads, Fiber{});
    running.warps.assign((threads + 31) / 32, Exchange{});
    running.shared.assign((shared_bytes + 15) / 16, Quad{0xa5a5a5a5, 0xa5a5a5a5, 0xa5a5a5a5, 0xa5a5a5a5});
    running.live = threads;
#ifdef __SANITIZE_ADDRESS__
    // Fibers of blocks before never returned, so the red zones of their frames are still set.
    __asan_unpoison_memory_region(stacks, STACK_BYTES * threads);
#endif
    for (unsigned i = 0; i < threads; i++) {
      // Frame that the switch pops: six registers, then the return address.
      const auto end = reinterpret_cast<uintptr_t>(stacks + STACK_BYTES * (i + 1));
      auto* top = reinterpret_cast<uint64_t*>(end & ~uintptr_t(15));
      *--top = 0;
      *--top = reinterpret_cast<uint64_t>(&enter);
      for (int saved = 0; saved < 6; saved++) *--top = 0;
      running.threads[i] = {top, {i, 0, 0}, i, false};
    }
    const std::vector<unsigned> order = thread_order(threads, seed != 0 ? &random : nullptr);
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
