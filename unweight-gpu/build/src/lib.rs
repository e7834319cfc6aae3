//! Build script of a crate with CUDA kernels: compiles them where there is an `nvcc`, so that the
//! program needs only a driver, and writes the constants that `unweight_gpu::kernels` loads.
//! Without an `nvcc` the crate builds too, and NVRTC compiles its kernels at first use.
//!
//! The kernels are in the crate's folder `kernels`, and `kernels/modules.txt` lists its modules
//! ([`Module::parse_list`]). `UNWEIGHT_NVCC` names the compiler; `UNWEIGHT_NVCC=off` does without.
//!
//! A crate that adds kernels to `unweight-gpu`, and includes its headers, has this build script:
//!
//! ```no_run
//! // Cargo sets the variable for crates that depend on `unweight-gpu`.
//! let include = std::env::var_os("DEP_UNWEIGHT_GPU_KERNELS_INCLUDE").unwrap();
//! unweight_gpu_build::Kernels::new()
//!     .headers(include, "unweight_gpu::kernels::HEADERS")
//!     .build();
//! ```
//!
//! A module of the crate then includes the constants:
//!
//! ```ignore
//! use unweight_gpu::kernels::{Header, Module};
//!
//! include!(concat!(env!("OUT_DIR"), "/modules.rs"));
//! ```

mod module;
mod nvcc;
mod tables;

use std::path::PathBuf;
use std::{env, fs};

pub use module::{Devices, HostTests, Module};

/// The kernels of the crate whose build script runs.
#[derive(Debug, Default)]
pub struct Kernels {
    others: Vec<OtherHeaders>,
}

/// Headers of another crate.
#[derive(Debug)]
struct OtherHeaders {
    folder: PathBuf,
    /// Path of the Rust constant with their texts.
    constant: String,
}

impl Kernels {
    /// The kernels in the folder `kernels` of the crate.
    pub fn new() -> Kernels {
        Kernels::default()
    }

    /// Adds the headers of another crate: their folder, for `nvcc`, and the Rust constant with
    /// their texts, for NVRTC.
    #[must_use]
    pub fn headers(mut self, folder: impl Into<PathBuf>, constant: &str) -> Kernels {
        self.others.push(OtherHeaders {
            folder: folder.into(),
            constant: constant.to_owned(),
        });
        self
    }

    /// Compiles the modules, and writes `modules.rs` to the folder `OUT_DIR`. A module that `nvcc`
    /// does not compile gets an empty image, and a warning.
    ///
    /// `modules.rs` has a constant of type `Module` for each module, with its stem in capitals, and
    /// two more: `MODULES`, in tests, with all modules, and `HEADERS` with the crate's own headers.
    ///
    /// # Panics
    /// If a file cannot be read or written, or the list has a wrong line.
    pub fn build(self) {
        println!("cargo::rerun-if-changed={FOLDER}");
        for name in nvcc::VARIABLES {
            println!("cargo::rerun-if-env-changed={name}");
        }
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
        let list = format!("{FOLDER}/modules.txt");
        let list = fs::read_to_string(&list).unwrap_or_else(|error| panic!("{list}: {error}"));
        let modules = Module::parse_list(&list).unwrap_or_else(|error| panic!("{error}"));
        let compiler = nvcc::find();
        for module in &modules {
            let image = out.join(format!("{}.fatbin", module.stem()));
            let folders = self.others.iter().map(|other| other.folder.as_path());
            let is_compiled = (compiler.as_ref())
                .is_some_and(|nvcc| nvcc::compile(nvcc, module, folders, &image));
            if !is_compiled {
                fs::write(&image, []).expect("OUT_DIR can be written to");
            }
        }
        let others = self.others.iter().map(|other| other.constant.as_str());
        let headers = tables::headers(FOLDER.as_ref()).expect("the kernels can be read");
        let tables = tables::of(&modules, &headers, others);
        fs::write(out.join("modules.rs"), tables).expect("OUT_DIR can be written to");
    }
}

/// The folder of a crate's kernels.
const FOLDER: &str = "kernels";
