//! `unweight decompress`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;
use unweight::Storage;

use super::folder::{
    FolderResult, Warnings, files as counted_files, require_folder_for, resumably, say_done, title,
};
use super::{Comparison, Context};
use crate::arguments::Decompress;
use crate::failure::Failure;
use crate::gpu::Gpu;
use crate::input::open;
use crate::model_folder::space::Need;
use crate::model_folder::{self, Conversion, Others, Plan, Step};
use crate::output::{Attributes, OutputFile, Target, require_absent, require_apart};
use crate::output_name;
use crate::printable::shown;
use crate::progress::{Metered, bar};
use crate::report::{bytes, text};
use crate::standard_output::{Bytes, is_meant};
use crate::tree::{SAFETENSORS, UNW};
use crate::unw_file::{RestoreError, read, restore};

/// Result for a file that was restored.
#[derive(Serialize)]
struct FileResult {
    input: String,
    output: String,
    input_bytes: u64,
    output_bytes: u64,
    /// Whether the output is from an earlier run, and was compared.
    kept: bool,
}

/// Result of the command.
#[derive(Serialize)]
struct DecompressResult {
    files: Vec<FileResult>,
    input_bytes: u64,
    output_bytes: u64,
    /// Result for the whole folder, if the input is a folder.
    folder: Option<FolderResult>,
    warnings: Vec<String>,
    seconds: f64,
}

pub(crate) fn run(options: &Decompress, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let is_folder = options.input.is_dir();
    if !is_folder {
        require_folder_for(&options.input, &options.folder)?;
    }
    if options.output.as_deref().is_some_and(is_meant) {
        return to_standard_output(options, is_folder, context);
    }
    let output = match &options.output {
        // The name of a folder is the same with a slash at its end.
        Some(output) if is_folder => output.components().collect(),
        Some(output) => output.clone(),
        None => output_name::of_restored(&options.input, is_folder)?,
    };
    require_absent(&output, options.force)?;
    require_apart(&options.input, &output)?;
    let gpu = options.gpu.open()?;
    let mut job = Job {
        options,
        context,
        gpu: gpu.as_ref(),
        warnings: Warnings::default(),
    };
    let (files, others) = match is_folder {
        true => {
            let done = job.decompress_folder(&output)?;
            (done.converted, Some((done.copied, done.left_out)))
        }
        false => {
            let target = Target::alone(&output, options.force);
            let file = job.decompress_file(&options.input, target, "decompress")?;
            (vec![file], None)
        }
    };
    let input_bytes = files.iter().map(|file| file.input_bytes).sum();
    let output_bytes = files.iter().map(|file| file.output_bytes).sum();
    let result = DecompressResult {
        input_bytes,
        output_bytes,
        folder: others.map(|(copied, left_out)| {
            FolderResult::new(input_bytes, output_bytes, copied, &left_out)
        }),
        warnings: job.warnings.0,
        seconds: start.elapsed().as_secs_f64(),
        files,
    };
    context.print_result(&result, || in_words(&result, &output))
}

fn in_words(result: &DecompressResult, output: &Path) -> String {
    let kept = result.files.iter().filter(|file| file.kept).count() as u64;
    let kept = match kept {
        0 => String::new(),
        _ => format!("; {} kept from an earlier run", counted_files(kept)),
    };
    let folder = result.folder.as_ref().map(FolderResult::in_words);
    format!(
        "{}: {} bytes restored, every checksum right, {:.1} s{kept}{}",
        shown(output),
        bytes(result.output_bytes),
        result.seconds,
        folder.unwrap_or_default()
    )
}

struct Job<'a> {
    options: &'a Decompress,
    context: &'a Context,
    gpu: Option<&'a Gpu>,
    warnings: Warnings,
}

impl Job<'_> {
    fn decompress_folder(
        &mut self,
        output: &Path,
    ) -> Result<model_folder::Outcome<FileResult>, Failure> {
        let options = self.options;
        // The bytes that a container restores depend on no other setting.
        let settings = json!({"command": "decompress"}).to_string();
        let plan = Plan {
            input: &options.input,
            output,
            replaces: options.force,
            from: UNW,
            to: SAFETENSORS,
            others: options.folder.copy.map_or(Others::Model, Others::from),
            requires_all_shards: true,
            resume: options.folder.resume.then_some(&*settings),
        };
        let context = self.context;
        resumably(context, options.folder.resume, || {
            model_folder::convert(&plan, self)
        })
    }

    fn decompress_file(
        &self,
        input: &Path,
        target: Target<'_>,
        title: &str,
    ) -> Result<FileResult, Failure> {
        let output = target.name();
        let file = open(input)?;
        let attributes = Attributes::of(input, &file)?;
        let output_file = OutputFile::create(target, &attributes)?;
        let mut target = output_file.file()?;
        let done = self.restore(input, &file, title, |bytes| {
            target
                .write_all(bytes)
                .map_err(|error| Failure::io(output, error))
        });
        let (input_bytes, output_bytes) = done.map_err(|error| error.at(input))?;
        output_file.commit()?;
        Ok(FileResult {
            input: text(input),
            output: text(output),
            input_bytes,
            output_bytes,
            kept: false,
        })
    }

    /// Passes the restored bytes of a file to `output`. Returns the length of the file and the
    /// number of restored bytes.
    fn restore(
        &self,
        input: &Path,
        file: &File,
        title: &str,
        mut output: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(u64, u64), RestoreError> {
        let input_bytes = file
            .byte_length()
            .map_err(|error| RestoreError::Failed(Failure::io(input, error)))?;
        let bar = bar(self.context.silent(), title, input_bytes);
        let metered = Metered { file, bar: &bar };
        let mut output_bytes = 0;
        restore(
            &metered,
            &self.options.memory,
            self.gpu,
            self.context,
            |bytes| {
                output_bytes += bytes.len() as u64;
                output(bytes)
            },
        )?;
        bar.finish_and_clear();
        Ok((input_bytes, output_bytes))
    }
}

impl Conversion for Job<'_> {
    type Done = FileResult;

    fn check(&mut self, input: &Path) -> Result<Need, Failure> {
        let failed = |error| Failure::reading(input, error);
        let file = open(input)?;
        let open = read(&file, &self.options.memory, self.context).map_err(failed)?;
        let container = open.container();
        let data = container
            .directory()
            .tensors()
            .map(|tensor| tensor.data_bytes());
        let source = container.header().source().length;
        Ok(Need::exactly(data.fold(source, u64::saturating_add)))
    }

    fn convert(&mut self, step: &Step<'_>) -> Result<FileResult, Failure> {
        let start = Instant::now();
        let title = title("decompress", &step.position);
        let done = self.decompress_file(step.input, step.target(), &title)?;
        let size = format!("{} bytes", bytes(done.output_bytes));
        say_done(self.context, &step.position, &size, start);
        Ok(done)
    }

    fn keep(&mut self, step: &Step<'_>) -> Result<Option<FileResult>, Failure> {
        let start = Instant::now();
        let (file, earlier) = (open(step.input)?, open(step.place)?);
        let mut comparison = Comparison::with(step.output, &earlier)?;
        let restored = self.restore(
            step.input,
            &file,
            &title("compare", &step.position),
            |bytes| comparison.piece(step.input, bytes),
        );
        let (input_bytes, output_bytes) = match restored {
            Ok(lengths) => lengths,
            Err(RestoreError::Failed(Failure::Bad { .. })) => return Ok(None),
            Err(error) => return Err(error.at(step.input)),
        };
        if comparison.finish(step.input).is_err() {
            return Ok(None);
        }
        let size = format!("kept, {} bytes", bytes(output_bytes));
        say_done(self.context, &step.position, &size, start);
        Ok(Some(FileResult {
            input: text(step.input),
            output: text(step.output),
            input_bytes,
            output_bytes,
            kept: true,
        }))
    }

    fn warn(&mut self, message: String) {
        self.warnings.say(message);
    }
}

/// Decompresses to standard output. Each piece has been checked before a reader gets it, but only
/// the exit code says that the whole is right.
fn to_standard_output(
    options: &Decompress,
    is_folder: bool,
    context: &Context,
) -> Result<(), Failure> {
    let input = &options.input;
    if is_folder {
        return Err(Failure::Usage(format!(
            "{} is a folder, expected a file for standard output; name a folder with -o",
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
