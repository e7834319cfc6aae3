//! `unweight verify`.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use unweight::{Storage, read_extent};
use unweight_format::Extent;

use super::folder::{LeftOutResult, listed, require_folder, say_done, title};
use super::{Comparison, Context};
use crate::arguments::Verify;
use crate::failure::Failure;
use crate::gpu::Gpu;
use crate::input::open;
use crate::model_folder::against::Lone;
use crate::model_folder::index::{self, Findings};
use crate::model_folder::{Others, Position};
use crate::printable::{escaped, shown};
use crate::progress::{Metered, bar};
use crate::report::{bytes, text};
use crate::tree::{SAFETENSORS, Tree, UNW};
use crate::unw_file::restore;

/// Result of a check that passed. Anything else is a failure.
#[derive(Serialize)]
struct VerifyResult {
    ok: bool,
    files: Vec<String>,
    restored_bytes: u64,
    against: Option<String>,
    /// Files of the source folder that were not compared.
    left_out: Option<LeftOutResult>,
    seconds: f64,
}

pub(crate) fn run(options: &Verify, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let is_folder = options.file.is_dir();
    if !is_folder {
        require_folder(&options.file, "--copy", options.copy.is_some())?;
    }
    let gpu = options.gpu.open()?;
    let job = Job {
        options,
        context,
        gpu: gpu.as_ref(),
    };
    let (files, restored_bytes, left_out) = match is_folder {
        true => job.verify_folder()?,
        false => {
            let against = options.against.as_deref();
            let restored_bytes = job.verify_file(&options.file, against, "verify")?;
            (vec![text(&options.file)], restored_bytes, None)
        }
    };
    let result = VerifyResult {
        ok: true,
        files,
        restored_bytes,
        against: options.against.as_deref().map(text),
        left_out,
        seconds: start.elapsed().as_secs_f64(),
    };
    context.print_result(&result, || {
        let against = match &result.against {
            Some(source) => format!("; equal to {}", escaped(source)),
            None => String::new(),
        };
        let left_out = result.left_out.as_ref().and_then(LeftOutResult::in_words);
        let left_out = left_out.map_or(String::new(), |words| format!("\nnot compared: {words}"));
        format!(
            "{}: valid; restores {} bytes{against}, {:.1} s{left_out}",
            shown(&options.file),
            bytes(result.restored_bytes),
            result.seconds
        )
    })
}

struct Job<'a> {
    options: &'a Verify,
    context: &'a Context,
    gpu: Option<&'a Gpu>,
}

/// Names of files, number of bytes that they restore, and files that were not compared.
type Verified = (Vec<String>, u64, Option<LeftOutResult>);

impl Job<'_> {
    fn verify_folder(&self) -> Result<Verified, Failure> {
        let Verify { file: folder, .. } = self.options;
        let others = self.options.copy.map_or(Others::Model, Others::from);
        let tree = Tree::of(folder, UNW, SAFETENSORS, others)?;
        // Quick checks come first.
        require_all_shards(folder, &index::check(folder, &tree)?)?;
        let mut left_out = None;
        if let Some(source) = &self.options.against {
            left_out = Some(require_same_others(folder, &tree, source, others)?);
        }
        let mut restored_bytes = 0;
        for (number, relative) in tree.converted.iter().enumerate() {
            let start = Instant::now();
            let path = folder.join(relative);
            let source = self
                .options
                .against
                .as_ref()
                .map(|source| source.join(relative).with_extension(SAFETENSORS));
            let position = Position {
                number: number + 1,
                count: tree.converted.len(),
                name: relative,
            };
            restored_bytes +=
                self.verify_file(&path, source.as_deref(), &title("verify", &position))?;
            say_done(self.context, &position, "valid", start);
        }
        let files = tree.converted.iter().map(|path| text(&folder.join(path)));
        Ok((files.collect(), restored_bytes, left_out))
    }

    /// Checks one file. Returns the number of bytes that it restores.
    fn verify_file(
        &self,
        path: &Path,
        against: Option<&Path>,
        title: &str,
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
        let bar = bar(self.context.silent(), title, length);
        let metered = Metered {
            file: &file,
            bar: &bar,
        };
        let mut restored_bytes = 0;
        restore(
            &metered,
            &self.options.memory,
            self.gpu,
            self.context,
            |bytes| {
                restored_bytes += bytes.len() as u64;
                match &mut comparison {
                    Some(comparison) => comparison.piece(path, bytes),
                    None => Ok(()),
                }
            },
        )
        .map_err(|error| error.at(path))?;
        if let Some(comparison) = comparison {
            comparison.finish(path)?;
        }
        bar.finish_and_clear();
        Ok(restored_bytes)
    }
}

/// Checks that every shard that an index names exists.
fn require_all_shards(folder: &Path, findings: &Findings) -> Result<(), Failure> {
    if let Some(missing) = findings.missing_in_words() {
        return Err(Failure::bad(folder, missing));
    }
    match findings.unusable.first() {
        Some((index, what)) => Err(Failure::bad(&folder.join(index), what)),
        None => Ok(()),
    }
}

/// Checks that the source folder has the same files and folders, and that copied files are equal.
/// Returns the files that were left out of this comparison.
fn require_same_others(
    folder: &Path,
    tree: &Tree,
    source: &Path,
    others: Others,
) -> Result<LeftOutResult, Failure> {
    if source.is_file() {
        return Err(Failure::Usage(format!(
            "{} is a file, but {} is a folder; compare it with the folder that it was made from",
            source.display(),
            folder.display()
        )));
    }
    let source_tree = Tree::of(source, SAFETENSORS, UNW, others)?;
    let lone = Lone::of(tree, &source_tree, SAFETENSORS);
    for (lacks, paths) in [(source, lone.first), (folder, lone.second)] {
        let verb = match paths.len() {
            0 => continue,
            1 => "is",
            _ => "are",
        };
        let paths = listed(paths.iter().map(|path| path.display().to_string()));
        return Err(Failure::bad(lacks, format!("{paths} {verb} missing")));
    }
    for relative in &tree.copied {
        require_equal(&folder.join(relative), &source.join(relative))?;
    }
    Ok(LeftOutResult::new(&source_tree.left_out))
}

/// Checks that two files are equal. They are compared a piece at a time, because they may be of any
/// size.
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
        let bytes = read_extent(&file, piece, &mut buffer).map_err(|error| failed(error.into()))?;
        comparison.piece(copy, bytes)?;
    }
    comparison.finish(copy)
}
