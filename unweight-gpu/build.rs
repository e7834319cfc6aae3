//! Compiles the kernels (`unweight-gpu-build`), and tells crates that depend on this one where its
//! headers are.

use std::env;

fn main() {
    let crate_folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::metadata=include={crate_folder}/kernels");
    unweight_gpu_build::Kernels::new().build();
}
