//! `unweight compress`.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;
use unweight::{CompressOptions, CompressPlan, Encoding, Storage};
use unweight_format::Dtype;
use unweight_format::write::SeekSink;

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

/// Result for a file that was compressed.
#[derive(Serialize)]
struct FileResult {
    input: String,
    output: String,
    input_bytes: u64,
    output_bytes: u64,
    tensors: u32,
    coded_tensors: u32,
    /// Number of weights of all BF16 tensors.
    bf16_weights: u64,
    /// Payload bytes of all BF16 tensors, coded or raw.
    bf16_payload_bytes: u64,
    /// Reason why the output is not smaller than the input. None if it is smaller.
    nothing_gained: Option<String>,
    verified: bool,
    /// Whether the output is from an earlier run, and was verified.
    kept: bool,
}

/// Result of the command.
#[derive(Serialize)]
struct CompressResult {
    files: Vec<FileResult>,
    input_bytes: u64,
    output_bytes: u64,
    bits_per_weight: Option<f64>,
    /// Result for the whole folder, if the input is a folder.
    folder: Option<FolderResult>,
    warnings: Vec<String>,
    seconds: f64,
}

pub(crate) fn run(options: &Compress, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let selection = Arc::new(Selection::new(&options.include, &options.exclude)?);
    let is_folder = options.input.is_dir();
    if !is_folder {
        require_folder_for(&options.input, &options.folder)?;
    }
    let output = match &options.output {
        // The name of a folder is the same with a slash at its end.
        Some(output) if is_folder => output.components().collect(),
        Some(output) => output.clone(),
        None => output_name::of_compressed(&options.input, is_folder)?,
    };
    require_absent(&output, options.force)?;
    require_apart(&options.input, &output)?;
    let mut job = Job {
        options,
        context,
        compression: compression(options, context, &selection),
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

fn compression(
    options: &Compress,
    context: &Context,
    selection: &Arc<Selection>,
) -> CompressOptions {
    let selection = selection.clone();
    let compression = CompressOptions::new()
        .encoding(options.encoding.into())
        .chunk_size_log2(options.chunk)
        .select(move |name| selection.has(name))
        .threads(context.executor.clone());
    match options.memory.budget() {
        Some(budget) => compression.memory(budget),
        None => compression,
    }
}

fn in_words(result: &CompressResult, output: &Path) -> String {
    let tensors: u32 = result.files.iter().map(|file| file.tensors).sum();
    let coded: u32 = result.files.iter().map(|file| file.coded_tensors).sum();
    let bits = result.bits_per_weight.map_or(String::new(), |bits| {
        format!(", {bits:.3} bits per BF16 weight")
    });
    let verified = match result.files.iter().all(|file| file.verified) {
        true => "; verified",
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
        let why = why.map_or(String::new(), |why| format!("; no gain: {why}"));
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
            "\nno gain in {count} of {}: {}",
            counted_files(result.files.len() as u64),
            listed(in_vain.into_iter())
        ),
    };
    converted + &kept + &folder.in_words() + &in_vain
}

/// Results for the compressed files of a folder, and the files that were copied or left out.
type OfFolder = (Vec<FileResult>, Option<(Amount, LeftOut)>);

struct Job<'a> {
    options: &'a Compress,
    context: &'a Context,
    compression: CompressOptions,
    selection: Arc<Selection>,
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
        let source = Source::open(input, &self.compression)?;
        let output_file = OutputFile::create(target, &source.attributes)?;
        self.write(input, output, &source, &output_file, title)?;
        let file = source.into_file();

        let written = output_file.reopen()?;
        if self.options.verify {
            // The title of the bar says which file of a folder is verified.
            let title = title.replacen("compress", "verify", 1);
            self.compare(input, &file, output, &written, &title)?;
        }
        let result = self.result(input, output, &file, &written)?;
        output_file.commit()?;
        Ok(result)
    }

    /// Checks that the written file restores the source.
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
        let bar = bar(self.context.silent(), title, source.plan.bytes_to_read());
        let metered = Metered {
            file: &source.file,
            bar: &bar,
        };
        let sink = SeekSink::new(output_file.file()?);
        source
            .plan
            .write(&metered, sink)
            .map_err(|error| Failure::converting(input, output, error))?;
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
        let container = open.container();
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
        let source = Source::open(input, &self.compression)?;
        let bytes = source.plan.container_bytes();
        Ok(Need {
            at_least: *bytes.start(),
            at_most: *bytes.end(),
        })
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

/// Safetensors file, and the plan for its compression.
struct Source {
    file: File,
    attributes: Attributes,
    plan: CompressPlan,
}

impl Source {
    fn open(path: &Path, options: &CompressOptions) -> Result<Source, Failure> {
        let file = open(path)?;
        let attributes = Attributes::of(path, &file)?;
        let plan = CompressPlan::read(&file, options).map_err(|error| {
            Failure::converting(path, path, error).explained(path, Expected::Safetensors)
        })?;
        Ok(Source {
            file,
            attributes,
            plan,
        })
    }

    /// Drops all but the file. The result is opened next and holds the same description of the
    /// tensors. Both together take too much memory.
    fn into_file(self) -> File {
        self.file
    }
}
