//! `unweight compress`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Serialize;
use unweight_cpu::safetensors::Header;
use unweight_cpu::{
    Container, Executor, MemoryBudget, Storage, StoredWeights, TransferError, copy_raw_tensor,
    encode_tensor,
};
use unweight_format::write::{ContainerWriter, SeekSink};
use unweight_format::{Dtype, Encoding, Extent, SourceKind, layout};

use super::{Comparison, Context};
use crate::arguments::Compress;
use crate::failure::Failure;
use crate::input::open;
use crate::model_folder;
use crate::output::{OutputFile, require_absent};
use crate::printable::shown;
use crate::progress::{Metered, bar};
use crate::recognize::Expected;
use crate::report::{bytes, percent, text};
use crate::tree::{SAFETENSORS, UNW};
use crate::unw_file::{read, restore};

/// What was done, for one file.
#[derive(Serialize)]
struct FileResult {
    input: String,
    output: String,
    input_bytes: u64,
    output_bytes: u64,
    tensors: u32,
    coded_tensors: u32,
    /// Of all BF16 tensors.
    bf16_weights: u64,
    /// Of all BF16 tensors, coded or raw.
    bf16_payload_bytes: u64,
    verified: bool,
}

/// What was done.
#[derive(Serialize)]
struct CompressResult {
    files: Vec<FileResult>,
    input_bytes: u64,
    output_bytes: u64,
    bits_per_weight: Option<f64>,
    seconds: f64,
}

pub(crate) fn run(options: &Compress, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let selection = Selection::new(&options.include, &options.exclude)?;
    let is_folder = options.input.is_dir();
    let output = match &options.output {
        Some(output) => output.clone(),
        None => default_output(&options.input, is_folder)?,
    };
    require_absent(&output, options.force)?;
    let job = Job {
        options,
        context,
        selection,
    };
    let files = if is_folder {
        model_folder::convert(&options.input, &output, (SAFETENSORS, UNW), |step| {
            let done = job.compress_file(step.input, step.place)?;
            let output = text(step.output);
            Ok(FileResult { output, ..done })
        })?
    } else {
        vec![job.compress_file(&options.input, &output)?]
    };
    let sum = |of: fn(&FileResult) -> u64| files.iter().map(of).sum::<u64>();
    let weights = sum(|file| file.bf16_weights);
    let payload_bits = 8.0 * sum(|file| file.bf16_payload_bytes) as f64;
    let result = CompressResult {
        input_bytes: sum(|file| file.input_bytes),
        output_bytes: sum(|file| file.output_bytes),
        bits_per_weight: (weights > 0).then(|| payload_bits / weights as f64),
        seconds: start.elapsed().as_secs_f64(),
        files,
    };
    context.print_result(&result, || in_words(&result, &output))
}

fn in_words(result: &CompressResult, output: &Path) -> String {
    let tensors: u32 = result.files.iter().map(|file| file.tensors).sum();
    let coded: u32 = result.files.iter().map(|file| file.coded_tensors).sum();
    let bits = result.bits_per_weight.map_or(String::new(), |bits| {
        format!(", {bits:.3} bits per BF16 weight")
    });
    let verified = match result.files.iter().all(|file| file.verified) {
        true => "; decoded again and compared: equal",
        false => "",
    };
    format!(
        "{}: {} to {} bytes ({}){bits}, {coded} of {tensors} tensors coded, {:.1} s{verified}",
        shown(output),
        bytes(result.input_bytes),
        bytes(result.output_bytes),
        percent(result.output_bytes, result.input_bytes),
        result.seconds,
    )
}

fn default_output(input: &Path, is_folder: bool) -> Result<PathBuf, Failure> {
    if !is_folder {
        return Ok(input.with_extension(UNW));
    }
    // `.` and `..` have no name to put an extension to.
    let Some(name) = input.file_name() else {
        return Err(Failure::Usage(format!(
            "{}: say where to with -o",
            input.display()
        )));
    };
    let mut name = name.to_owned();
    name.push(".");
    name.push(UNW);
    Ok(input.with_file_name(name))
}

/// Which BF16 tensors are to be coded.
struct Selection {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Selection {
    fn new(include: &[String], exclude: &[String]) -> Result<Selection, Failure> {
        let globs = |patterns: &[String]| {
            let mut builder = GlobSetBuilder::new();
            for pattern in patterns {
                builder.add(Glob::new(pattern)?);
            }
            builder.build()
        };
        let wrong = |error: globset::Error| Failure::Usage(error.to_string());
        Ok(Selection {
            include: match include {
                [] => None,
                patterns => Some(globs(patterns).map_err(wrong)?),
            },
            exclude: globs(exclude).map_err(wrong)?,
        })
    }

    fn has(&self, name: &str) -> bool {
        let included = self
            .include
            .as_ref()
            .is_none_or(|include| include.is_match(name));
        included && !self.exclude.is_match(name)
    }
}

struct Job<'a> {
    options: &'a Compress,
    context: &'a Context,
    selection: Selection,
}

impl Job<'_> {
    fn compress_file(&self, input: &Path, output: &Path) -> Result<FileResult, Failure> {
        let source = Source::open(input, self.options, self.context)?;
        let output_file = OutputFile::create(output, self.options.force)?;
        self.write(input, output, &source, &output_file)?;
        let file = source.into_file();

        let written = output_file.reopen()?;
        if self.options.verify {
            let length = written
                .byte_length()
                .map_err(|error| Failure::io(output, error))?;
            let bar = bar(self.context.silent(), "verify", length);
            let metered = Metered {
                file: &written,
                bar: &bar,
            };
            let mut comparison = Comparison::with(input, &file)?;
            let memory = &self.options.memory;
            restore(&metered, memory, None, self.context, |bytes| {
                comparison.piece(output, bytes)
            })
            .map_err(|error| error.at(output))?;
            comparison.finish(output)?;
            bar.finish_and_clear();
        }
        let result = self.result(input, output, &file, &written)?;
        output_file.commit()?;
        Ok(result)
    }

    fn write(
        &self,
        input: &Path,
        output: &Path,
        source: &Source,
        output_file: &OutputFile,
    ) -> Result<(), Failure> {
        let header = &source.header;
        let executor = &self.context.executor.at_most(source.chunks_in_work);
        let is_coded = |name: &str, dtype| dtype == Dtype::Bf16 && self.selection.has(name);
        let total = header
            .tensors
            .iter()
            .map(|tensor| {
                let passes = 1 + u64::from(is_coded(&tensor.name, tensor.dtype));
                passes * (tensor.end - tensor.begin)
            })
            .sum();
        let bar = bar(self.context.silent(), "compress", total);
        let metered = Metered {
            file: &source.file,
            bar: &bar,
        };
        let failed = |error| Failure::transfer(input, output, error);
        let mut declarations = Vec::with_capacity(header.tensors.len());
        declarations.extend(header.tensors.iter().map(|tensor| tensor.declaration()));
        let sink = SeekSink::new(output_file.file()?);
        let kind = SourceKind::Safetensors;
        let mut writer = ContainerWriter::new(sink, kind, &source.section, declarations)
            .map_err(|error| failed(TransferError::Write(error)))?;
        for tensor in &header.tensors {
            let data = header.data(tensor);
            if is_coded(&tensor.name, tensor.dtype) {
                let weights = StoredWeights::new(&metered, data);
                let encoding = Encoding::from(self.options.encoding);
                let chunk = self.options.chunk;
                encode_tensor(&mut writer, &weights, encoding, chunk, executor)
            } else {
                copy_raw_tensor(&mut writer, &metered, data)
            }
            .map_err(failed)?;
        }
        writer
            .finish()
            .map_err(|error| failed(TransferError::Write(error)))?;
        bar.finish_and_clear();
        Ok(())
    }

    fn result(
        &self,
        input: &Path,
        output: &Path,
        file: &File,
        written: &File,
    ) -> Result<FileResult, Failure> {
        let failed = |error| Failure::reading(output, error);
        let open = read(written, &self.options.memory, self.context).map_err(failed)?;
        let container = Container::parse(&open).map_err(failed)?;
        let tensors = || container.directory().tensors();
        let bf16 = || tensors().filter(|tensor| tensor.dtype() == Dtype::Bf16);
        let payload =
            |tensor: unweight_format::Tensor<'_>| tensor.payload().end() - tensor.payload().start();
        Ok(FileResult {
            input: text(input),
            output: text(output),
            input_bytes: file
                .byte_length()
                .map_err(|error| Failure::io(input, error))?,
            output_bytes: container.header().file_length(),
            tensors: container.directory().tensor_count(),
            coded_tensors: tensors()
                .filter(|tensor| tensor.encoding() != Encoding::Raw)
                .count() as u32,
            bf16_weights: bf16().map(|tensor| tensor.element_count()).sum(),
            bf16_payload_bytes: bf16().map(payload).sum(),
            verified: self.options.verify,
        })
    }
}

/// A safetensors file, and what it says.
struct Source {
    file: File,
    /// What stands before the tensors' bytes.
    section: Vec<u8>,
    header: Header,
    /// How many chunks there is memory for.
    chunks_in_work: u64,
}

impl Source {
    fn open(path: &Path, options: &Compress, context: &Context) -> Result<Source, Failure> {
        let file = open(path)?;
        let length = file
            .byte_length()
            .map_err(|error| Failure::io(path, error))?;
        let budget = context.budget(&options.memory, length);
        let (section, header) = read_header(path, &file, length, budget)
            .map_err(|failure| failure.explained(path, Expected::Safetensors))?;
        let chunks_in_work = header
            .chunks_in_work(budget, options.chunk)
            .map_err(|error| Failure::over_budget(path, error))?;
        Ok(Source {
            file,
            section,
            header,
            chunks_in_work,
        })
    }

    /// The file alone: the result, which is opened next, says what the source says, and both together are too much memory.
    fn into_file(self) -> File {
        self.file
    }
}

/// The source section of a safetensors file, and what it says. The file's length must be what it says too.
fn read_header(
    path: &Path,
    file: &File,
    length: u64,
    budget: MemoryBudget,
) -> Result<(Vec<u8>, Header), Failure> {
    let failed = |error| Failure::io(path, error);
    let begin = |length| Extent { offset: 0, length };
    let mut source = Vec::new();
    let needed = layout::SAFETENSORS_LENGTH_BYTES;
    let too_short = |needed| {
        let what =
            format!("the file ends at byte {length}, its safetensors header at byte {needed}");
        Failure::bad(path, what)
    };
    if length < needed {
        return Err(too_short(needed));
    }
    file.read(begin(needed), &mut source).map_err(failed)?;
    let mut length_field = [0; 8];
    length_field.copy_from_slice(&source);
    let header_bytes =
        Header::bytes_from_length(length_field).map_err(|error| Failure::bad(path, error))?;
    if length < header_bytes {
        return Err(too_short(header_bytes));
    }
    Header::require_within(budget, header_bytes)
        .map_err(|error| Failure::over_budget(path, error))?;
    file.read(begin(header_bytes), &mut source)
        .map_err(failed)?;
    let header = Header::parse(&source).map_err(|error| Failure::bad(path, error))?;
    let expected = header_bytes.checked_add(header.data_bytes());
    if expected != Some(length) {
        return Err(Failure::bad(
            path,
            format!(
                "the file has {length} bytes, but its header describes {header_bytes} + {}",
                header.data_bytes()
            ),
        ));
    }
    Ok((source, header))
}
