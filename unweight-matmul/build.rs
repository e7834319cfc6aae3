//! Compiles the kernels (`unweight-gpu-build`), which include headers of `unweight-gpu`.

use std::env;

fn main() {
    let include = env::var_os("DEP_UNWEIGHT_GPU_KERNELS_INCLUDE").expect("cargo sets it");
    unweight_gpu_build::Kernels::new()
        .headers(include, "unweight_gpu::kernels::HEADERS")
        .build();
}
