//! The cache of kernels that NVRTC compiled.

use std::path::Path;
use std::time::Instant;
use std::{fs, io};

use unweight_gpu::{Device, DeviceOptions};

use crate::OnAGpu;

fn images(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    fs::read_dir(folder)?.collect()
}

fn open(folder: &Path) -> f64 {
    let mut options = DeviceOptions::default();
    options.kernel_cache = Some(folder.to_owned());
    let start = Instant::now();
    Device::open_with(0, &options).unwrap();
    start.elapsed().as_secs_f64()
}

pub(crate) fn compiled_kernels_are_kept(_: &OnAGpu) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("kernels");
    let first = open(&folder);
    let Ok(kept) = images(&folder) else {
        println!("nothing to keep: kernels were built in by nvcc (UNWEIGHT_NVCC=off builds none)");
        return;
    };
    let whole: Vec<Vec<u8>> = kept.iter().map(|f| fs::read(f.path()).unwrap()).collect();
    let second = open(&folder);
    println!(
        "{} images, first {first:.2} s, then {second:.2} s",
        kept.len()
    );
    assert_eq!(images(&folder).unwrap().len(), kept.len());
    // A damaged image is compiled again.
    fs::write(kept[0].path(), &whole[0][..whole[0].len() / 2]).unwrap();
    open(&folder);
    assert!(fs::read(kept[0].path()).unwrap() == whole[0]);
}
