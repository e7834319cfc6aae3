//! Compiles the kernels' own source for the CPU, on the emulator.

use std::path::PathBuf;
use std::{env, fs};

use unweight_gpu_build::{HostTests, Module};

/// Folders of kernels. `unweight-matmul` includes headers of `unweight-gpu`.
const KERNELS: [&str; 2] = ["../kernels", "../../unweight-matmul/kernels"];

fn main() {
    for path in KERNELS.into_iter().chain(["emulator", "launch"]) {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-env-changed=UNWEIGHT_SANITIZE_KERNELS");
    println!("cargo:rustc-check-cfg=cfg(no_host_kernels)");
    // The switch between fibers is written for x86-64.
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        println!("cargo:rustc-cfg=no_host_kernels");
        return;
    }
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .define("UNWEIGHT_HOST", None)
        .includes(KERNELS)
        .include(".")
        .flag_if_supported("-Wno-unknown-pragmas")
        .flag_if_supported("-Wno-extra")
        // The corpus takes minutes without optimization.
        .opt_level(1)
        .file("emulator/switch_fiber.cpp")
        .files(emulated_modules().map(|stem| PathBuf::from(format!("launch/{stem}.cpp"))));
    // The sanitizer that watches the tests watches the kernels too.
    if env::var("UNWEIGHT_SANITIZE_KERNELS").is_ok() {
        build.flag("-fsanitize=address");
    }
    build.compile("unweight_host_kernels");
}

/// Stems of the modules that the lists mark `emulated`.
fn emulated_modules() -> impl Iterator<Item = String> {
    KERNELS.into_iter().flat_map(|folder| {
        let list = fs::read_to_string(format!("{folder}/modules.txt")).expect("the module list");
        let modules = Module::parse_list(&list).expect("the module list is right");
        let emulated = modules
            .into_iter()
            .filter(|module| module.host_tests == HostTests::Emulated);
        emulated.map(|module| module.stem().to_owned())
    })
}
