//! The Rust constants with a crate's modules and headers.

use std::path::Path;
use std::{fs, io};

use crate::{Devices, FOLDER, Module};

/// The text of `modules.rs`: each module by its stem in capitals, all modules, and the headers.
/// `others` are the constants with headers of other crates.
pub(crate) fn of<'o>(
    modules: &[Module],
    headers: &[String],
    others: impl Iterator<Item = &'o str>,
) -> String {
    let text = |path: &str| {
        format!("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/{FOLDER}/{path}\"))")
    };
    let sets: Vec<&str> = std::iter::once("HEADERS").chain(others).collect();
    let sets = sets.join(", ");
    let mut tables = String::new();
    for module in modules {
        let stem = module.stem();
        let hopper = module.devices == Devices::Hopper;
        let path = format!("{}.cu", module.path);
        tables += &format!(
            "/// `{FOLDER}/{path}`.\n\
             pub(crate) const {}: Module = Module {{ path: {path:?}, source: {}, headers: &[{sets}], \
             image: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{stem}.fatbin\")), \
             hopper: {hopper} }};\n",
            stem.to_uppercase(),
            text(&path),
        );
    }
    tables += "#[cfg(test)]\npub(crate) const MODULES: &[Module] = &[";
    for module in modules {
        tables += &format!("{}, ", module.stem().to_uppercase());
    }
    tables += "];\n/// Headers of this crate, by their names in an `#include`.\n\
               #[allow(unreachable_pub)]\npub const HEADERS: &[Header] = &[\n";
    for path in headers {
        tables += &format!("    Header {{ name: {path:?}, text: {} }},\n", text(path));
    }
    tables += "];\n";
    tables
}

/// Paths of all `.cuh` files in the folders of `kernels`, in order.
pub(crate) fn headers(kernels: &Path) -> io::Result<Vec<String>> {
    let mut headers = vec![];
    for folder in fs::read_dir(kernels)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder.path())? {
            let name = file?.file_name();
            let name = name.to_str().expect("names are ASCII");
            if name.ends_with(".cuh") {
                let folder = folder.file_name();
                let folder = folder.to_str().expect("names are ASCII");
                headers.push(format!("{folder}/{name}"));
            }
        }
    }
    headers.sort();
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_named_by_folder_and_in_order() {
        let kernels = tempfile::tempdir().unwrap();
        for name in ["b/two.cuh", "a/one.cuh", "a/none.cu", "modules.txt"] {
            let path = kernels.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(headers(kernels.path()).unwrap(), ["a/one.cuh", "b/two.cuh"]);
    }

    #[test]
    fn a_module_gets_the_headers_of_all_crates() {
        let modules = Module::parse_list("a/one hopper device\nb/two all device").unwrap();
        let headers = ["a/one.cuh".to_owned()];
        let tables = of(&modules, &headers, ["other::HEADERS"].into_iter());
        assert!(tables.contains("pub(crate) const ONE: Module = Module { path: \"a/one.cu\""));
        assert!(tables.contains("pub(crate) const MODULES: &[Module] = &[ONE, TWO, ];"));
        assert!(tables.contains("    Header { name: \"a/one.cuh\", text: include_str!("));
        assert_eq!(
            tables
                .matches("headers: &[HEADERS, other::HEADERS]")
                .count(),
            2
        );
        assert_eq!(tables.matches("hopper: true").count(), 1);
    }
}
