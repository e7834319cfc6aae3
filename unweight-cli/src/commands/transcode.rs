//! `unweight transcode`.

use std::time::Instant;

use serde::Serialize;
use unweight::file::{self, FileOptions};
use unweight_format::Encoding;

use super::Context;
use super::screen::Screen;
use crate::arguments::Transcode;
use crate::failure::Failure;
use crate::printable::shown;
use crate::report::{bytes, percent, text};

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
    let encoding = Encoding::from(options.to);
    let screen = Screen::new(context, false);
    let transcoding = FileOptions::new()
        .reading(context.reading(&options.memory, None))
        .force(options.force);
    let report = file::transcode(input, output, encoding, &screen.of(transcoding))?;
    let result = TranscodeResult {
        input: text(input),
        output: text(output),
        encoding,
        input_bytes: report.input_bytes,
        output_bytes: report.output_bytes,
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
