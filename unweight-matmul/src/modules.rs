//! The kernel modules and headers of this crate, which build.rs lists.

use unweight_gpu::kernels::{Header, Module};

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

#[cfg(test)]
mod tests {
    use unweight_gpu::ComputeCapability;

    use super::*;

    #[test]
    #[ignore = "needs nvcc when the crate is built"]
    fn an_image_was_made_of_every_module() {
        for module in MODULES {
            assert!(module.is_built_in(), "{}", module.path);
        }
    }

    #[test]
    #[ignore = "needs NVRTC"]
    fn nvrtc_compiles_every_module() {
        for module in MODULES {
            for capability in [ComputeCapability::OLDEST, ComputeCapability::HOPPER] {
                if capability == ComputeCapability::HOPPER || !module.hopper {
                    let image = module.compile(capability).unwrap();
                    assert!(image.starts_with(b"\x7fELF"), "{}", module.path);
                }
            }
        }
    }

    #[test]
    fn every_include_of_a_module_or_header_is_a_header() {
        let known: Vec<_> = (MODULES[0].headers.iter().copied().flatten())
            .map(|header| header.name)
            .collect();
        let modules = MODULES.iter().map(|module| (module.path, module.source));
        let headers = HEADERS.iter().map(|header| (header.name, header.text));
        for (file, text) in modules.chain(headers) {
            for line in text.lines() {
                let Some(name) = line.trim().strip_prefix("#include ") else {
                    continue;
                };
                let name = name.trim_matches('"');
                assert!(known.contains(&name), "{file} includes {name}");
            }
        }
    }
}
