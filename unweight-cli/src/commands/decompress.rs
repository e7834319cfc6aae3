//! `unweight decompress`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use unweight_cpu::Storage;

use super::Context;
use crate::arguments::Decompress;
use crate::failure::Failure;
use crate::gpu::Gpu;
use crate::input::open;
use crate::model_folder;
use crate::output::{OutputFile, require_absent};
use crate::printable::shown;
use crate::progress::{Metered, bar};
use crate::report::{bytes, text};
use crate::standard_output::{Bytes, is_meant};
use crate::tree::{SAFETENSORS, UNW};
use crate::unw_file::restore;

/// What was done, for one file.
#[derive(Serialize)]
struct FileResult {
    input: String,
    output: String,
    output_bytes: u64,
}

/// What was done.
#[derive(Serialize)]
struct DecompressResult {
    files: Vec<FileResult>,
    output_bytes: u64,
    seconds: f64,
}

pub(crate) fn run(options: &Decompress, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let is_folder = options.input.is_dir();
    if options.output.as_deref().is_some_and(is_meant) {
        return to_standard_output(options, is_folder, context);
    }
    let output = match &options.output {
        Some(output) => output.clone(),
        None => default_output(&options.input, is_folder)?,
    };
    require_absent(&output, options.force)?;
    let gpu = options.gpu.open()?;
    let gpu = gpu.as_ref();
    let files = if is_folder {
        model_folder::convert(&options.input, &output, (UNW, SAFETENSORS), |step| {
            let done = decompress_file(step.input, step.place, options, gpu, context)?;
            let output = text(step.output);
            Ok(FileResult { output, ..done })
        })?
    } else {
        vec![decompress_file(
            &options.input,
            &output,
            options,
            gpu,
            context,
        )?]
    };
    let result = DecompressResult {
        output_bytes: files.iter().map(|file| file.output_bytes).sum(),
        seconds: start.elapsed().as_secs_f64(),
        files,
    };
    context.print_result(&result, || {
        format!(
            "{}: {} bytes restored, every checksum right, {:.1} s",
            shown(&output),
            bytes(result.output_bytes),
            result.seconds
        )
    })
}

fn default_output(input: &Path, is_folder: bool) -> Result<PathBuf, Failure> {
    if !is_folder {
        return Ok(input.with_extension(SAFETENSORS));
    }
    match input.extension() {
        Some(extension) if extension == UNW => Ok(input.with_extension("")),
        _ => Err(Failure::Usage(format!(
            "{}: its name does not end in .{UNW}; say where to with -o",
            input.display()
        ))),
    }
}

fn decompress_file(
    input: &Path,
    output: &Path,
    options: &Decompress,
    gpu: Option<&Gpu>,
    context: &Context,
) -> Result<FileResult, Failure> {
    let file = open(input)?;
    let output_file = OutputFile::create(output, options.force)?;
    let mut target: File = output_file.file()?;
    let length = file
        .byte_length()
        .map_err(|error| Failure::io(input, error))?;
    let bar = bar(context.silent(), "decompress", length);
    let metered = Metered {
        file: &file,
        bar: &bar,
    };
    let mut output_bytes = 0;
    restore(&metered, &options.memory, gpu, context, |bytes| {
        output_bytes += bytes.len() as u64;
        target
            .write_all(bytes)
            .map_err(|error| Failure::io(output, error))
    })
    .map_err(|error| error.at(input))?;
    bar.finish_and_clear();
    output_file.commit()?;
    Ok(FileResult {
        input: text(input),
        output: text(output),
        output_bytes,
    })
}

/// What a reader gets has been checked piece by piece; only the exit code says that the whole is right.
fn to_standard_output(
    options: &Decompress,
    is_folder: bool,
    context: &Context,
) -> Result<(), Failure> {
    let input = &options.input;
    if is_folder {
        return Err(Failure::Usage(format!(
            "{} is a folder, and standard output has room for one file; say where to with -o",
            input.display()
        )));
    }
    let mut stdout = Bytes::open(context)?;
    let gpu = options.gpu.open()?;
    let file = open(input)?;
    let length = file.byte_length();
    let length = length.map_err(|error| Failure::io(input, error))?;
    let bar = bar(context.silent(), "decompress", length);
    let metered = Metered {
        file: &file,
        bar: &bar,
    };
    let memory = &options.memory;
    let done = restore(&metered, memory, gpu.as_ref(), context, |bytes| {
        stdout.write(bytes)
    });
    bar.finish_and_clear();
    stdout.finish(done.map_err(|error| error.at(input)))
}
