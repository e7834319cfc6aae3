// The kernel of matmul/routing.cu, launched on the CPU.
#include "matmul/routing.cu"

namespace unweight::matmul {

extern "C" void unweight_host_route(const RoutingJob* job, uint64_t seed) {
  fibers::launch(job->expert_count + 1, ROUTING_THREADS, routing_shared_bytes(job->expert_count), seed,
                 [&] { route(*job); });
}

}  // namespace unweight::matmul
