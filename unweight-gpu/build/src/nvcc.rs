//! The compiler of images.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Devices, FOLDER, Module};

/// Environment variables that name the compiler.
pub(crate) const VARIABLES: [&str; 2] = ["UNWEIGHT_NVCC", "CUDA_HOME"];

/// Architectures of machine code for modules that every device loads. PTX of the first serves later
/// devices.
const ARCHITECTURES: [&str; 2] = ["80", "90"];
/// Architecture of modules that use Hopper's own instructions.
const HOPPER: &str = "90a";

/// The compiler that the environment names, or the first one in `PATH`.
pub(crate) fn find() -> Option<PathBuf> {
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

/// Compiles a module to a fat binary, with the headers of its crate and of these folders. Returns
/// false, with a warning, if `nvcc` fails: NVRTC may still succeed.
pub(crate) fn compile<'f>(
    nvcc: &Path,
    module: &Module,
    folders: impl Iterator<Item = &'f Path>,
    image: &Path,
) -> bool {
    let path = &module.path;
    let mut command = Command::new(nvcc);
    command.args(["-std=c++17", "-O3", "-fatbin", "-I", FOLDER]);
    for folder in folders {
        command.arg("-I").arg(folder);
    }
    let machine_code =
        |architecture: &str| format!("-gencode=arch=compute_{architecture},code=sm_{architecture}");
    match module.devices {
        Devices::Hopper => command.arg(machine_code(HOPPER)),
        Devices::All => {
            let oldest = ARCHITECTURES[0];
            let later = format!("-gencode=arch=compute_{oldest},code=compute_{oldest}");
            command.args(ARCHITECTURES.map(machine_code)).arg(later)
        }
    };
    command.arg(format!("{FOLDER}/{path}.cu"));
    command.arg("-o").arg(image);
    match command.output() {
        Ok(done) if done.status.success() => true,
        Ok(done) => {
            let message = String::from_utf8_lossy(&done.stderr);
            println!(
                "cargo::warning=nvcc could not compile {path}.cu, NVRTC will be used: {message}"
            );
            false
        }
        Err(error) => {
            println!("cargo::warning=cannot run {}: {error}", nvcc.display());
            false
        }
    }
}
