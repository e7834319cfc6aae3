//! Compiles the kernels where there is an `nvcc`, so that the program needs only a driver. Where there is none the crate builds all the
//! same, and compiles them at first use with NVRTC.
//!
//! `UNWEIGHT_NVCC` names the compiler; `UNWEIGHT_NVCC=off` does without.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const MODULES: [&str; 9] = [
    "decode",
    "checksum",
    "histogram",
    "code_lengths",
    "encode",
    "transcode",
    "fragments",
    "small_batch_matmul",
    "planes_matmul",
];
/// Of Hopper's own instructions, which no other device has.
const HOPPER_MODULES: [&str; 1] = ["large_batch_matmul"];
/// Machine code for these, and PTX of the first for whatever comes later.
const ARCHITECTURES: [&str; 2] = ["80", "90"];
const HOPPER: &str = "90a";

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    for name in ["UNWEIGHT_NVCC", "CUDA_HOME"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let of_all = MODULES.map(|module| (module, &ARCHITECTURES[..]));
    let of_hopper = HOPPER_MODULES.map(|module| (module, &[HOPPER][..]));
    for (module, architectures) in of_all.into_iter().chain(of_hopper) {
        let image = out.join(format!("{module}.fatbin"));
        if !compiler().is_some_and(|nvcc| compile(&nvcc, module, architectures, &image)) {
            fs::write(&image, []).expect("OUT_DIR can be written to");
        }
    }
}

fn compiler() -> Option<PathBuf> {
    match env::var("UNWEIGHT_NVCC").as_deref() {
        Ok("off") => None,
        Ok(named) => Some(named.into()),
        Err(_) => {
            let beside_cuda =
                env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin/nvcc"));
            beside_cuda.filter(|path| path.exists()).or_else(|| {
                let search = env::var_os("PATH")?;
                env::split_paths(&search)
                    .map(|folder| folder.join("nvcc"))
                    .find(|path| path.exists())
            })
        }
    }
}

/// False, with a warning, if it fails: NVRTC may still do it.
fn compile(nvcc: &Path, module: &str, architectures: &[&str], image: &Path) -> bool {
    let mut command = Command::new(nvcc);
    command.args(["-std=c++17", "-O3", "-fatbin"]);
    for architecture in architectures {
        command.arg(format!(
            "-gencode=arch=compute_{architecture},code=sm_{architecture}"
        ));
    }
    if architectures.contains(&ARCHITECTURES[0]) {
        let oldest = ARCHITECTURES[0];
        command.arg(format!(
            "-gencode=arch=compute_{oldest},code=compute_{oldest}"
        ));
    }
    command
        .arg(format!("kernels/{module}.cu"))
        .arg("-o")
        .arg(image);
    match command.output() {
        Ok(done) if done.status.success() => true,
        Ok(done) => {
            let message = String::from_utf8_lossy(&done.stderr);
            println!(
                "cargo:warning=nvcc could not compile {module}.cu, NVRTC will be used: {message}"
            );
            false
        }
        Err(error) => {
            println!("cargo:warning=cannot run {}: {error}", nvcc.display());
            false
        }
    }
}
