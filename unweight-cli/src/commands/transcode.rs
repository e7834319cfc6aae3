//! `unweight transcode`.

use std::time::Instant;

use serde::Serialize;
use unweight::Storage;
use unweight::file::open;
use unweight::output::{Attributes, OutputFile, require_absent, require_apart};
use unweight_format::Encoding;
use unweight_format::write::SeekSink;

use super::Context;
use crate::arguments::Transcode;
use crate::failure::Failure;
use crate::printable::shown;
use crate::progress::{Metered, bar};
use crate::report::{bytes, percent, text};
use crate::warning;

/// Result of the command.
#[derive(Serialize)]
struct TranscodeResult {
    input: String,
    output: String,
    encoding: Encoding,
    input_bytes: u64,
    output_bytes: u64,
    seconds: f64,
}

pub(crate) fn run(options: &Transcode, context: &Context) -> Result<(), Failure> {
    let start = Instant::now();
    let (input, output) = (&options.file, &options.output);
    require_absent(output, options.force)?;
    require_apart(input, output)?;
    let file = open(input)?;
    let attributes = Attributes::of(input, &file)?;
    // The number of bytes to read is known only when the directory has been read.
    let bar = bar(context.silent(), "transcode", 0);
    let metered = Metered {
        file,
        bar: bar.clone(),
    };
    let failed = |error| Failure::converting(input, output, error);
    let model = context.reading(&options.memory, None).open_storage(metered);
    let model = model.map_err(failed)?;
    // Coded tensors are read twice: to count their values, and to code them.
    let total = model.tensors().map(|tensor| {
        let payload = tensor.entry().payload().extent();
        (1 + u64::from(tensor.forms().is_coded())) * payload.length
    });
    bar.set_length(total.sum());
    let output_file = OutputFile::create(output, options.force, &attributes)?;
    let sink = SeekSink::new(output_file.file()?);
    let encoding = Encoding::from(options.to);
    model.transcode(encoding, sink).map_err(failed)?;
    bar.finish_and_clear();
    let written = output_file.file()?;
    let output_bytes = written
        .byte_length()
        .map_err(|error| Failure::io(output, error))?;
    output_file.commit(|warning| warning::tell(&warning))?;
    let result = TranscodeResult {
        input: text(input),
        output: text(output),
        encoding,
        input_bytes: model.header().file_length(),
        output_bytes,
        seconds: start.elapsed().as_secs_f64(),
    };
    context.print_result(&result, || {
        format!(
            "{}: {} to {} bytes ({}) as {encoding}, {:.1} s",
            shown(output),
            bytes(result.input_bytes),
            bytes(result.output_bytes),
            percent(result.output_bytes, result.input_bytes),
            result.seconds
        )
    })
}
