//! `unweight`: lossless compression of BF16 model weights. `unweight --help` says how to use it.

mod aligned;
mod arguments;
mod breakdown;
mod commands;
mod copy;
mod executor;
mod failure;
mod gpu;
mod input;
mod model_folder;
mod output;
mod output_name;
mod printable;
mod progress;
mod report;
mod selection;
mod synthetic;
mod tasks;
mod temporary;
mod tree;
mod unw_file;
mod warning;
mod write_back;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use failure::Failure;

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
            Failure::Usage(error.to_string().trim_end().to_owned()).print_json();
        }
        error.exit()
    });
    output::read_mask();
    let context = match commands::Context::new(&arguments.common) {
        Ok(context) => context,
        Err(failure) => return failure.report(arguments.common.json),
    };
    if let Err(error) = temporary::remove_on_signals() {
        return Failure::Io(format!("signals: {error}")).report(arguments.common.json);
    }
    let done = match &arguments.command {
        Command::Compress(options) => commands::compress::run(options, &context),
        Command::Decompress(options) => commands::decompress::run(options, &context),
        Command::Inspect(options) => commands::inspect::run(options, &context),
        Command::Verify(options) => commands::verify::run(options, &context),
        Command::Extract(options) => commands::extract::run(options, &context),
        Command::Transcode(options) => commands::transcode::run(options, &context),
        Command::Bench(options) => commands::bench::run(options, &context),
        Command::Tune(options) => commands::tune::run(options, &context),
    };
    // Where a signal removes what this was to become, it has the last word.
    temporary::uninterrupted(|_| ());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(arguments.common.json),
    }
}
