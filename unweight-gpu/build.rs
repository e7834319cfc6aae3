//! Compiles the kernels where there is an `nvcc`, so that the program needs only a driver. Without
//! one the crate builds too, and compiles the kernels at first use with NVRTC. Writes the tables of
//! `src/image.rs` from `kernels/modules.txt`.
//!
//! `UNWEIGHT_NVCC` names the compiler; `UNWEIGHT_NVCC=off` does without.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Architectures of machine code for modules that every device loads. PTX of the first serves later
/// devices.
const ARCHITECTURES: [&str; 2] = ["80", "90"];
/// Architecture of modules that use Hopper's own instructions.
const HOPPER: &str = "90a";

/// One line of `kernels/modules.txt`.
struct Module<'l> {
    /// Path below `kernels/`, without `.cu`.
    path: &'l str,
    hopper: bool,
}

impl<'l> Module<'l> {
    fn parse(line: &'l str) -> Module<'l> {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [path, devices @ ("all" | "hopper"), "emulated" | "device"] = fields[..] else {
            panic!("kernels/modules.txt: `{line}`, expected `PATH all|hopper emulated|device`");
        };
        let hopper = devices == "hopper";
        Module { path, hopper }
    }

    fn stem(&self) -> &'l str {
        self.path.rsplit('/').next().expect("rsplit yields an item")
    }
}

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    for name in ["UNWEIGHT_NVCC", "CUDA_HOME"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let list = fs::read_to_string("kernels/modules.txt").expect("the module list");
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let modules: Vec<_> = lines.map(Module::parse).collect();
    for module in &modules {
        let image = out.join(format!("{}.fatbin", module.stem()));
        if !compiler().is_some_and(|nvcc| compile(&nvcc, module, &image)) {
            fs::write(&image, []).expect("OUT_DIR can be written to");
        }
    }
    let tables = tables(&modules).expect("a string takes any text");
    fs::write(out.join("modules.rs"), tables).expect("OUT_DIR can be written to");
}

/// The constants that `src/image.rs` includes: each module by its stem in capitals, all modules,
/// and all headers by the names under which they are included.
fn tables(modules: &[Module<'_>]) -> Result<String, std::fmt::Error> {
    let text = |path: &str| {
        format!("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/kernels/{path}\"))")
    };
    let mut tables = String::new();
    for module in modules {
        let (stem, hopper) = (module.stem(), module.hopper);
        let path = format!("{}.cu", module.path);
        writeln!(
            tables,
            "pub(crate) const {}: Module = Module {{ path: {path:?}, hopper: {hopper}, source: {}, \
             image: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{stem}.fatbin\")) }};",
            stem.to_uppercase(),
            text(&path),
        )?;
    }
    writeln!(tables, "#[cfg(test)]\nconst MODULES: &[Module] = &[")?;
    for module in modules {
        writeln!(tables, "    {},", module.stem().to_uppercase())?;
    }
    writeln!(tables, "];\nconst HEADERS: &[Header] = &[")?;
    for path in headers() {
        let text = text(&path);
        writeln!(tables, "    Header {{ name: {path:?}, text: {text} }},")?;
    }
    writeln!(tables, "];")?;
    Ok(tables)
}

/// Paths of all `.cuh` files below `kernels/`, in order.
fn headers() -> Vec<String> {
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("the kernels can be read");
        entries.map(|entry| entry.expect("the kernels can be read").path())
    };
    let folders = entries(Path::new("kernels")).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| entries(&folder));
    let headers = files.filter(|path| path.extension().is_some_and(|ext| ext == "cuh"));
    let mut names: Vec<String> = headers
        .map(|path| {
            let name = path.strip_prefix("kernels").expect("it is below");
            let parts = name
                .iter()
                .map(|part| part.to_str().expect("names are ASCII"));
            parts.collect::<Vec<_>>().join("/")
        })
        .collect();
    names.sort();
    names
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

/// Compiles a module to a fat binary. Returns false, with a warning, if `nvcc` fails: NVRTC may
/// still succeed.
fn compile(nvcc: &Path, module: &Module<'_>, image: &Path) -> bool {
    let path = module.path;
    let mut command = Command::new(nvcc);
    command.args(["-std=c++17", "-O3", "-fatbin", "-Ikernels"]);
    let machine_code =
        |architecture: &str| format!("-gencode=arch=compute_{architecture},code=sm_{architecture}");
    if module.hopper {
        command.arg(machine_code(HOPPER));
    } else {
        command.args(ARCHITECTURES.map(machine_code));
        let oldest = ARCHITECTURES[0];
        command.arg(format!(
            "-gencode=arch=compute_{oldest},code=compute_{oldest}"
        ));
    }
    command
        .arg(format!("kernels/{path}.cu"))
        .arg("-o")
        .arg(image);
    match command.output() {
        Ok(done) if done.status.success() => true,
        Ok(done) => {
            let message = String::from_utf8_lossy(&done.stderr);
            println!(
                "cargo:warning=nvcc could not compile {path}.cu, NVRTC will be used: {message}"
            );
            false
        }
        Err(error) => {
            println!("cargo:warning=cannot run {}: {error}", nvcc.display());
            false
        }
    }
}
