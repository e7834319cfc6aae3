//! `unweight compress`.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;
use unweight_cpu::safetensors::Header;
use unweight_cpu::{
    Container, Executor, MemoryBudget, Storage, StorageError, StoredWeights, TransferError,
    copy_raw_tensor, encode_tensor, read_extent,
};
use unweight_format::write::{ContainerWriter, SeekSink};
use unweight_format::{Dtype, Encoding, Extent, SourceKind, layout};

use super::folder::{
    FolderResult, Warnings, files as counted_files, listed, require_folder_for, resumably,
    say_done, title,
};
use super::gain::why_nothing_gained;
use super::{Comparison, Context};
use crate::arguments::Compress;
use crate::failure::Failure;
use crate::input::open;
use crate::model_folder::space::Need;
use crate::model_folder::{self, Conversion, LeftOut, Others, Plan, Step};
use crate::output::{Attributes, OutputFile, Target, require_absent, require_apart};
use crate::output_name;
use crate::printable::{escaped, shown};
use crate::progress::{Metered, bar};
use crate::recognize::Expected;
use crate::report::{bytes, percent, text};
use crate::selection::Selection;
use crate::tree::{Amount, SAFETENSORS, UNW};
use crate::unw_file::{read, restore};

/// A file that was compressed.
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
    /// Why the output is not smaller than the input, where that is so.
    nothing_gained: Option<String>,
    verified: bool,
    /// From an earlier run, verified.
    kept: bool,
}

/// What was done.
#[derive(Serialize)]
struct CompressResult {
    files: Vec<FileResult>,
    input_bytes: u64,
    output_bytes: u64,
    bits_per_weight: Option<f64>,
    /// The whole, where the input is a folder.
    folder: Option<FolderResult>,
    warnings: Vec<String>,
    seconds: f64,
}

pub(crate) fn run(options: &Compress, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let selection = Selection::new(&options.include, &options.exclude)?;
    let is_folder = options.input.is_dir();
    if !is_folder {
        require_folder_for(&options.input, &options.folder)?;
    }
    let output = match &options.output {
        Some(output) => output.clone(),
        None => output_name::of_compressed(&options.input, is_folder)?,
    };
    require_absent(&output, options.force)?;
    require_apart(&options.input, &output)?;
    let mut job = Job {
        options,
        context,
        selection,
        warnings: Warnings::default(),
    };
    let (files, others) = match is_folder {
        true => job.compress_folder(&output)?,
        false => {
            let target = Target::alone(&output, options.force);
            let file = job.compress_file(&options.input, target, "compress")?;
            (vec![file], None)
        }
    };
    let sum = |of: fn(&FileResult) -> u64| files.iter().map(of).sum::<u64>();
    let weights = sum(|file| file.bf16_weights);
    let payload_bits = 8.0 * sum(|file| file.bf16_payload_bytes) as f64;
    let (input_bytes, output_bytes) = (sum(|file| file.input_bytes), sum(|file| file.output_bytes));
    let result = CompressResult {
        input_bytes,
        output_bytes,
        bits_per_weight: (weights > 0).then(|| payload_bits / weights as f64),
        folder: others.map(|(copied, left_out)| {
            FolderResult::new(input_bytes, output_bytes, copied, &left_out)
        }),
        warnings: job.warnings.0,
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
    let converted = format!(
        "{}: {} to {} bytes ({}){bits}, {coded} of {tensors} tensors coded, {:.1} s{verified}",
        shown(output),
        bytes(result.input_bytes),
        bytes(result.output_bytes),
        percent(result.output_bytes, result.input_bytes),
        result.seconds,
    );
    let Some(folder) = &result.folder else {
        let why = result
            .files
            .iter()
            .find_map(|file| file.nothing_gained.as_ref());
        let why = why.map_or(String::new(), |why| format!("; nothing gained: {why}"));
        return converted + &why;
    };
    let kept = result.files.iter().filter(|file| file.kept).count() as u64;
    let kept = match kept {
        0 => String::new(),
        _ => format!("; {} kept from an earlier run", counted_files(kept)),
    };
    let in_vain: Vec<String> = result
        .files
        .iter()
        .filter_map(|file| {
            let why = file.nothing_gained.as_ref()?;
            Some(format!("{} ({why})", escaped(&file.input)))
        })
        .collect();
    let in_vain = match in_vain.len() {
        0 => String::new(),
        count => format!(
            "\nnothing gained in {count} of {}: {}",
            counted_files(result.files.len() as u64),
            listed(in_vain.into_iter())
        ),
    };
    converted + &kept + &folder.in_words() + &in_vain
}

/// Files of a folder that were compressed, and what became of the others.
type OfFolder = (Vec<FileResult>, Option<(Amount, LeftOut)>);

struct Job<'a> {
    options: &'a Compress,
    context: &'a Context,
    selection: Selection,
    warnings: Warnings,
}

impl Job<'_> {
    fn compress_folder(&mut self, output: &Path) -> Result<OfFolder, Failure> {
        let options = self.options;
        let settings = json!({
            "command": "compress",
            "version": env!("CARGO_PKG_VERSION"),
            "encoding": Encoding::from(options.encoding),
            "chunk": options.chunk,
            "include": options.include,
            "exclude": options.exclude,
        })
        .to_string();
        let plan = Plan {
            input: &options.input,
            output,
            replaces: options.force,
            from: SAFETENSORS,
            to: UNW,
            others: options.folder.copy.map_or(Others::Model, Others::from),
            requires_all_shards: false,
            resume: options.folder.resume.then_some(&*settings),
        };
        let context = self.context;
        let done = resumably(context, options.folder.resume, || {
            model_folder::convert(&plan, self)
        })?;
        Ok((done.converted, Some((done.copied, done.left_out))))
    }

    fn compress_file(
        &self,
        input: &Path,
        target: Target<'_>,
        title: &str,
    ) -> Result<FileResult, Failure> {
        let output = target.name();
        let source = Source::open(input, self.options, self.context)?;
        let output_file = OutputFile::create(target, &source.attributes)?;
        self.write(input, output, &source, &output_file, title)?;
        let file = source.into_file();

        let written = output_file.reopen()?;
        if self.options.verify {
            // The bar says which file of a folder it is.
            let title = title.replacen("compress", "verify", 1);
            self.compare(input, &file, output, &written, &title)?;
        }
        let result = self.result(input, output, &file, &written)?;
        output_file.commit()?;
        Ok(result)
    }

    /// Checks that what was written restores the source.
    fn compare(
        &self,
        input: &Path,
        file: &File,
        output: &Path,
        written: &File,
        title: &str,
    ) -> Result<(), Failure> {
        let length = written
            .byte_length()
            .map_err(|error| Failure::io(output, error))?;
        let bar = bar(self.context.silent(), title, length);
        let metered = Metered {
            file: written,
            bar: &bar,
        };
        let mut comparison = Comparison::with(input, file)?;
        let memory = &self.options.memory;
        restore(&metered, memory, None, self.context, |bytes| {
            comparison.piece(output, bytes)
        })
        .map_err(|error| error.at(output))?;
        comparison.finish(output)?;
        bar.finish_and_clear();
        Ok(())
    }

    fn write(
        &self,
        input: &Path,
        output: &Path,
        source: &Source,
        output_file: &OutputFile,
        title: &str,
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
        let bar = bar(self.context.silent(), title, total);
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
        let input_bytes = file
            .byte_length()
            .map_err(|error| Failure::io(input, error))?;
        Ok(FileResult {
            input: text(input),
            output: text(output),
            input_bytes,
            output_bytes: container.header().file_length(),
            tensors: container.directory().tensor_count(),
            coded_tensors: tensors()
                .filter(|tensor| tensor.encoding() != Encoding::Raw)
                .count() as u32,
            bf16_weights: bf16().map(|tensor| tensor.element_count()).sum(),
            bf16_payload_bytes: bf16().map(payload).sum(),
            nothing_gained: why_nothing_gained(&container, &self.selection, input_bytes),
            verified: self.options.verify,
            kept: false,
        })
    }
}

impl Conversion for Job<'_> {
    type Done = FileResult;

    fn check(&mut self, input: &Path) -> Result<Need, Failure> {
        let source = Source::open(input, self.options, self.context)?;
        Ok(source.need(&self.selection))
    }

    fn convert(&mut self, step: &Step<'_>) -> Result<FileResult, Failure> {
        let start = Instant::now();
        let title = title("compress", &step.position);
        let done = self.compress_file(step.input, step.target(), &title)?;
        let size = percent(done.output_bytes, done.input_bytes);
        say_done(self.context, &step.position, &size, start);
        Ok(done)
    }

    fn keep(&mut self, step: &Step<'_>) -> Result<Option<FileResult>, Failure> {
        let start = Instant::now();
        let (file, written) = (open(step.input)?, open(step.place)?);
        let title = title("verify", &step.position);
        match self.compare(step.input, &file, step.output, &written, &title) {
            Ok(()) => {}
            Err(Failure::Bad { .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        }
        let done = self.result(step.input, step.output, &file, &written)?;
        let size = percent(done.output_bytes, done.input_bytes);
        say_done(
            self.context,
            &step.position,
            &format!("kept, {size}"),
            start,
        );
        Ok(Some(FileResult {
            verified: true,
            kept: true,
            ..done
        }))
    }

    fn warn(&mut self, message: String) {
        self.warnings.say(message);
    }
}

/// A safetensors file, and what it says.
struct Source {
    file: File,
    attributes: Attributes,
    /// What stands before the tensors' bytes.
    section: Vec<u8>,
    header: Header,
    /// How many chunks there is memory for.
    chunks_in_work: u64,
}

impl Source {
    fn open(path: &Path, options: &Compress, context: &Context) -> Result<Source, Failure> {
        let file = open(path)?;
        let attributes = Attributes::of(path, &file)?;
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
            attributes,
            section,
            header,
            chunks_in_work,
        })
    }

    /// What its container takes on the disk: the bytes of signs and mantissas at least, all bytes and checksums at most.
    fn need(&self, selection: &Selection) -> Need {
        // Planes begin on multiples of this, a tensor has three at most, and so many bytes of checksums for each block.
        const ALIGNMENT: u64 = 3 * layout::PLANE_ALIGNMENT;
        let fixed = layout::FILE_HEADER_BYTES + self.header.header_bytes + layout::GUARD_BYTES;
        let mut need = Need {
            at_least: fixed,
            at_most: fixed + ALIGNMENT,
        };
        for tensor in &self.header.tensors {
            let data = tensor.end - tensor.begin;
            let is_coded = tensor.dtype == Dtype::Bf16 && selection.has(&tensor.name);
            let entry = layout::ENTRY_BYTES
                + layout::DIMENSION_BYTES * tensor.shape.len() as u64
                + tensor.name.len() as u64;
            let checksums = data.div_ceil(layout::BLOCK_BYTES) * layout::BLOCK_CHECKSUM_BYTES;
            need = need.and(Need {
                at_least: entry + if is_coded { data / 2 } else { data },
                at_most: (entry + checksums + ALIGNMENT).saturating_add(data),
            });
        }
        need
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
    let failed = |error: StorageError| Failure::io(path, error);
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
    let bytes = read_extent(file, begin(needed), &mut source).map_err(failed)?;
    let mut length_field = [0; 8];
    length_field.copy_from_slice(bytes);
    let header_bytes =
        Header::bytes_from_length(length_field).map_err(|error| Failure::bad(path, error))?;
    if length < header_bytes {
        return Err(too_short(header_bytes));
    }
    Header::require_within(budget, header_bytes)
        .map_err(|error| Failure::over_budget(path, error))?;
    read_extent(file, begin(header_bytes), &mut source).map_err(failed)?;
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
