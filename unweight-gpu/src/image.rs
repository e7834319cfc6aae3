//! The kernels as the driver loads them: images made when the crate was built, or else source for NVRTC.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::Ptx;

use crate::kernel_cache::{KernelCache, Key};
use crate::{GpuError, nvrtc};

/// One `.cu` file.
pub(crate) struct Module {
    name: &'static str,
    source: &'static str,
    /// Empty if there was no compiler when the crate was built.
    image: &'static [u8],
    /// For Hopper alone, whose own instructions it has.
    hopper: bool,
}

macro_rules! module {
    ($name:literal, hopper: $hopper:literal) => {
        Module {
            hopper: $hopper,
            name: $name,
            source: include_str!(concat!("../kernels/", $name, ".cu")),
            image: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".fatbin")),
        }
    };
}

pub(crate) const DECODE: Module = module!("decode", hopper: false);
pub(crate) const CHECKSUM: Module = module!("checksum", hopper: false);
pub(crate) const HISTOGRAM: Module = module!("histogram", hopper: false);
pub(crate) const CODE_LENGTHS: Module = module!("code_lengths", hopper: false);
pub(crate) const ENCODE: Module = module!("encode", hopper: false);
pub(crate) const TRANSCODE: Module = module!("transcode", hopper: false);
pub(crate) const FRAGMENTS: Module = module!("fragments", hopper: false);
pub(crate) const SMALL_BATCH_MATMUL: Module = module!("small_batch_matmul", hopper: false);
pub(crate) const PLANES_MATMUL: Module = module!("planes_matmul", hopper: false);
pub(crate) const LARGE_BATCH_MATMUL: Module = module!("large_batch_matmul", hopper: true);

/// What the modules include, each before those that include it.
const HEADERS: [&str; 20] = [
    include_str!("../kernels/platform.cuh"),
    include_str!("../kernels/layout.cuh"),
    include_str!("../kernels/weights.cuh"),
    include_str!("../kernels/record.cuh"),
    include_str!("../kernels/decode_chunk.cuh"),
    include_str!("../kernels/crc32.cuh"),
    include_str!("../kernels/encode_layout.cuh"),
    include_str!("../kernels/palette.cuh"),
    include_str!("../kernels/value_counts.cuh"),
    include_str!("../kernels/record_source.cuh"),
    include_str!("../kernels/encode_tables.cuh"),
    include_str!("../kernels/encode_patches.cuh"),
    include_str!("../kernels/lane_indices.cuh"),
    include_str!("../kernels/piece_packer.cuh"),
    include_str!("../kernels/record_place.cuh"),
    include_str!("../kernels/fragments.cuh"),
    include_str!("../kernels/patches.cuh"),
    include_str!("../kernels/matmul.cuh"),
    include_str!("../kernels/small_batch.cuh"),
    include_str!("../kernels/wgmma.cuh"),
];

/// The compute capability of Hopper.
pub(crate) const HOPPER: (i32, i32) = (9, 0);

/// Where a device's images come from.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) capability: (i32, i32),
    pub(crate) driver_version: i32,
    /// For those that NVRTC compiles.
    pub(crate) cache: Option<KernelCache>,
}

impl Images {
    /// Loads a module: its image, or what NVRTC makes of its source, now or in an earlier process.
    ///
    /// # Errors
    /// [`GpuError::NoKernels`]; [`GpuError::Compile`]; the driver's.
    pub(crate) fn load(
        &self,
        context: &Arc<CudaContext>,
        module: &Module,
    ) -> Result<Arc<CudaModule>, GpuError> {
        let load = |image: &[u8]| Ok(context.load_module(Ptx::from_binary(image.to_vec()))?);
        if !module.image.is_empty() {
            return load(module.image);
        }
        if !nvrtc::is_present() {
            return Err(GpuError::NoKernels);
        }
        let (source, options) = (module.whole_source(), module.options(self.capability));
        let compile = || nvrtc::compile(&format!("{}.cu", module.name), &source, &options);
        let Some(cache) = &self.cache else {
            return load(&compile()?);
        };
        let (major, minor) = nvrtc::version()?;
        let mut key = Key::new();
        key.add(module.name).add(&source);
        options.iter().for_each(|option| {
            key.add(option);
        });
        key.add(&format!("NVRTC {major}.{minor}"))
            .add(&format!("driver {}", self.driver_version))
            .add(&format!("device {:?}", self.capability));
        cache.load(&key.finish(), compile, load)
    }
}

impl Module {
    fn options(&self, (major, minor): (i32, i32)) -> Vec<String> {
        let own = if self.hopper { "a" } else { "" };
        vec![
            "--std=c++17".to_owned(),
            format!("--gpu-architecture=sm_{major}{minor}{own}"),
        ]
    }

    /// NVRTC takes one text: what is included is put in front.
    fn whole_source(&self) -> String {
        let lines = HEADERS
            .into_iter()
            .chain([self.source])
            .flat_map(str::lines);
        let own = lines
            .filter(|line| !line.starts_with("#include \"") || line.contains("host/"))
            .filter(|line| !line.starts_with("#pragma once"));
        own.flat_map(|line| [line, "\n"]).collect()
    }
}

/// Whether the kernels that decode were compiled when the crate was built. Otherwise NVRTC compiles them at first use.
pub const fn kernels_are_built_in() -> bool {
    !DECODE.image.is_empty() && !CHECKSUM.image.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: [Module; 10] = [
        DECODE,
        CHECKSUM,
        HISTOGRAM,
        CODE_LENGTHS,
        ENCODE,
        TRANSCODE,
        FRAGMENTS,
        SMALL_BATCH_MATMUL,
        PLANES_MATMUL,
        LARGE_BATCH_MATMUL,
    ];

    #[test]
    #[ignore = "needs nvcc when the crate is built"]
    fn an_image_was_made_of_every_module() {
        for module in MODULES {
            assert!(!module.image.is_empty(), "{}", module.name);
        }
    }

    #[test]
    #[ignore = "needs NVRTC"]
    fn nvrtc_compiles_every_module() {
        assert!(nvrtc::is_present());
        for module in MODULES {
            for capability in [(8, 0), HOPPER] {
                if capability == HOPPER || !module.hopper {
                    let (source, options) = (module.whole_source(), module.options(capability));
                    let image = nvrtc::compile(module.name, &source, &options).unwrap();
                    assert!(image.starts_with(b"\x7fELF"), "{}", module.name);
                }
            }
        }
    }

    #[test]
    #[ignore = "needs NVRTC"]
    fn an_error_of_nvrtc_has_the_compiler_s_messages() {
        let error = nvrtc::compile("bad.cu", "__global__ void f() { g(); }", &[]).unwrap_err();
        assert!(error.to_string().contains("identifier \"g\""), "{error}");
    }

    #[test]
    fn a_source_for_nvrtc_includes_nothing_but_the_host_s_half() {
        for module in MODULES {
            let source = module.whole_source();
            let includes: Vec<_> = source
                .lines()
                .filter(|line| line.starts_with("#include"))
                .collect();
            assert_eq!(
                includes,
                ["#include \"host/fibers.hpp\""],
                "{}",
                module.name
            );
        }
    }
}
