//! `unweight verify`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use unweight_cpu::Storage;
use unweight_format::Extent;

use super::{Comparison, Context};
use crate::arguments::{Memory, Verify};
use crate::failure::Failure;
use crate::gpu::Gpu;
use crate::input::{self, open};
use crate::printable::{escaped, shown};
use crate::progress::{Metered, bar};
use crate::report::{bytes, text};
use crate::tree::{SAFETENSORS, Tree, UNW};
use crate::unw_file::restore;

/// What holds. Anything else is a failure.
#[derive(Serialize)]
struct VerifyResult {
    ok: bool,
    files: Vec<String>,
    restored_bytes: u64,
    against: Option<String>,
    seconds: f64,
}

pub(crate) fn run(options: &Verify, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let gpu = options.gpu.open()?;
    let gpu = gpu.as_ref();
    let mut restored_bytes = 0;
    let files = if options.file.is_dir() {
        let tree = Tree::of(&options.file, UNW, SAFETENSORS)?;
        // First what is quick.
        if let Some(source) = &options.against {
            require_same_others(&options.file, &tree, source)?;
        }
        for relative in &tree.converted {
            let source = options
                .against
                .as_ref()
                .map(|source| source.join(relative).with_extension(SAFETENSORS));
            restored_bytes += verify_file(
                &options.file.join(relative),
                source.as_deref(),
                &options.memory,
                gpu,
                context,
            )?;
        }
        let files = tree.converted.iter();
        files.map(|path| text(&options.file.join(path))).collect()
    } else {
        restored_bytes = verify_file(
            &options.file,
            options.against.as_deref(),
            &options.memory,
            gpu,
            context,
        )?;
        vec![text(&options.file)]
    };
    let result = VerifyResult {
        ok: true,
        files,
        restored_bytes,
        against: options.against.as_deref().map(text),
        seconds: start.elapsed().as_secs_f64(),
    };
    context.print_result(&result, || {
        let against = match &result.against {
            Some(source) => format!("; equal to {}", escaped(source)),
            None => String::new(),
        };
        format!(
            "{}: valid; restores {} bytes{against}, {:.1} s",
            shown(&options.file),
            bytes(result.restored_bytes),
            result.seconds
        )
    })
}

/// Checks one file, and gives the number of bytes that it restores.
fn verify_file(
    path: &Path,
    against: Option<&Path>,
    memory: &Memory,
    gpu: Option<&Gpu>,
    context: &Context,
) -> Result<u64, Failure> {
    let file = open(path)?;
    let source = against.map(open).transpose()?;
    let mut comparison = match (against, &source) {
        (Some(source_path), Some(source)) => Some(Comparison::with(source_path, source)?),
        _ => None,
    };
    let length = file
        .byte_length()
        .map_err(|error| Failure::io(path, error))?;
    let bar = bar(context.silent(), "verify", length);
    let metered = Metered {
        file: &file,
        bar: &bar,
    };
    let mut restored_bytes = 0;
    restore(&metered, memory, gpu, context, |bytes| {
        restored_bytes += bytes.len() as u64;
        match &mut comparison {
            Some(comparison) => comparison.piece(path, bytes),
            None => Ok(()),
        }
    })
    .map_err(|error| error.at(path))?;
    if let Some(comparison) = comparison {
        comparison.finish(path)?;
    }
    bar.finish_and_clear();
    Ok(restored_bytes)
}

/// Checks that the source folder has the same files and folders, and that those that are copies are equal.
fn require_same_others(folder: &Path, tree: &Tree, source: &Path) -> Result<(), Failure> {
    if source.is_file() {
        return Err(Failure::Usage(format!(
            "{} is a file, but {} is a folder; compare it with the folder that it was made from",
            source.display(),
            folder.display()
        )));
    }
    let source_tree = Tree::of(source, SAFETENSORS, UNW)?;
    let mut expected = tree.converted.clone();
    for path in &mut expected {
        path.set_extension(SAFETENSORS);
    }
    expected.extend(tree.copied.iter().chain(&tree.folders).cloned());
    expected.sort();
    let mut found = source_tree.converted;
    found.extend(source_tree.copied);
    found.extend(source_tree.folders);
    found.sort();
    let lone = |a: &[PathBuf], b: &[PathBuf]| a.iter().find(|&path| !b.contains(path)).cloned();
    if let Some(path) = lone(&expected, &found) {
        return Err(Failure::bad(
            source,
            format!("{} is missing", path.display()),
        ));
    }
    if let Some(path) = lone(&found, &expected) {
        return Err(Failure::bad(
            folder,
            format!("{} is missing", path.display()),
        ));
    }
    for relative in &tree.copied {
        require_equal(&folder.join(relative), &source.join(relative))?;
    }
    Ok(())
}

/// Checks that two files are equal, a piece at a time: they may be of any size.
fn require_equal(copy: &Path, original: &Path) -> Result<(), Failure> {
    const PIECE_BYTES: u64 = 1 << 16;
    let failed = |error| Failure::io(copy, error);
    let (file, source) = (open(copy)?, open(original)?);
    let mut comparison = Comparison::with(original, &source)?;
    let length = file.byte_length().map_err(failed)?;
    let mut buffer = Vec::new();
    for offset in (0..length).step_by(PIECE_BYTES as usize) {
        let piece = Extent {
            offset,
            length: PIECE_BYTES.min(length - offset),
        };
        let bytes = input::read(&file, piece, &mut buffer).map_err(failed)?;
        comparison.piece(copy, bytes)?;
    }
    comparison.finish(copy)
}
