//! Compiles the kernels' own source, for the CPU.

fn main() {
    let kernels = "../kernels";
    println!("cargo:rerun-if-changed={kernels}");
    println!("cargo:rustc-check-cfg=cfg(no_host_kernels)");
    // The switch between fibers is written for one architecture.
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        println!("cargo:rustc-cfg=no_host_kernels");
        return;
    }
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .flag_if_supported("-Wno-unknown-pragmas")
        .flag_if_supported("-Wno-extra")
        // A debug build of a fiber a thread takes minutes over the corpus.
        .opt_level(1)
        .file(format!("{kernels}/host/launch.cpp"))
        .file(format!("{kernels}/host/launch_encode.cpp"))
        .file(format!("{kernels}/host/launch_transcode.cpp"))
        .file(format!("{kernels}/host/launch_fragments.cpp"));
    // The kernels are to be watched by the sanitizer that watches the tests.
    if std::env::var("UNWEIGHT_SANITIZE_KERNELS").is_ok() {
        build.flag("-fsanitize=address");
    }
    println!("cargo:rerun-if-env-changed=UNWEIGHT_SANITIZE_KERNELS");
    build.compile("unweight_host_kernels");
}
