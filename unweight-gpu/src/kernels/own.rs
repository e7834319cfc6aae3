//! The modules and headers of this crate, which build.rs lists.

use super::{Header, Module};

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ComputeCapability;
    use crate::kernels::nvrtc;

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
        assert!(nvrtc::is_present());
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
    #[ignore = "needs NVRTC"]
    fn an_error_of_nvrtc_has_the_compiler_s_messages() {
        let source = "__global__ void f() { g(); }";
        let error = nvrtc::compile(source, "bad.cu", &[], &[]).unwrap_err();
        assert!(error.to_string().contains("identifier \"g\""), "{error}");
    }

    #[test]
    fn every_include_of_a_module_or_header_is_a_header() {
        let modules = MODULES.iter().map(|module| (module.path, module.source));
        let headers = HEADERS.iter().map(|header| (header.name, header.text));
        for (file, text) in modules.chain(headers) {
            for line in text.lines() {
                let Some(name) = line.trim().strip_prefix("#include ") else {
                    continue;
                };
                let name = name.trim_matches('"');
                let known = HEADERS.iter().any(|header| header.name == name);
                // The header of the host tests' emulator is not part of a device build.
                let emulator = name.starts_with("emulator/");
                assert!(known || emulator, "{file} includes {name}");
            }
        }
    }
}
