//! The program `unweight` as a function, for programs that contain it. `unweight --help` says how to
//! use it.

#![forbid(unsafe_code)]

mod aligned;
mod arguments;
mod commands;
mod failure;
mod gpu;
mod output_name;
mod panics;
mod printable;
mod progress;
mod recognize;
mod report;
mod selection;
mod signals;
mod standard_output;
mod synthetic;
mod table;
mod version;
mod warning;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use clap::Parser;
use unweight::temporary;

use arguments::{Arguments, Command};
use failure::Failure;

/// Does what these arguments of the command line ask for, and returns the exit code. The first
/// argument is the name of the program.
///
/// The process is the program's until this returns: it writes to standard output and standard error,
/// and on a signal that ends a process it removes temporary files and ends the process.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let given: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&given) {
        Ok(arguments) => arguments,
        Err(error) => return misunderstood(error, &given),
    };
    match panics::to_failure(|| run(&arguments)) {
        Ok(()) => 0,
        Err(failure) => failure.report(arguments.common.json),
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.command.require_named_files()?;
    let context = commands::Context::new(&arguments.common)?;
    signals::remove_on_signals().map_err(|error| {
        Failure::Io(format!(
            "the thread that waits for signals could not be started: {error}"
        ))
    })?;
    let done = match &arguments.command {
        Command::Compress(options) => commands::compress::run(options, &context),
        Command::Decompress(options) => commands::decompress::run(options, &context),
        Command::Inspect(options) => commands::inspect::run(options, &context),
        Command::Report(options) => commands::report::run(options, &context),
        Command::Verify(options) => commands::verify::run(options, &context),
        Command::Extract(options) => commands::extract::run(options, &context),
        Command::Transcode(options) => commands::transcode::run(options, &context),
        Command::Bench(options) => commands::bench::run(options, &context),
        Command::Tune(options) => commands::tune::run(options, &context),
        Command::Completions(options) => commands::generate::completions(options),
        Command::Man(options) => commands::generate::man(options),
    };
    // If a signal is removing the output of this run, the program waits here and ends by the
    // signal.
    temporary::wait_for_removal();
    done
}

/// Prints the message of the command line's parser: an error, the help, or the version.
fn misunderstood(error: clap::Error, given: &[OsString]) -> u8 {
    let is_json = || given.iter().any(|argument| argument == "--json");
    if !error.use_stderr() {
        // Without a flush, an error on buffered output would be lost.
        let printed = error.print().and_then(|()| io::stdout().flush());
        return match printed {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Failure::io(Path::new("standard output"), error).report(false)
            }
            _ => 0,
        };
    }
    let error = with_escaped_arguments(given).unwrap_or(error);
    if is_json() {
        Failure::Usage(error.to_string().trim_end().to_owned()).print_json();
    }
    // If standard error cannot be written, only the exit code reports the error.
    let _ = error.print();
    2
}

/// Parses the arguments again, escaped, and returns the same error. The parser repeats arguments in
/// its message, whatever characters are in them.
fn with_escaped_arguments(given: &[OsString]) -> Option<clap::Error> {
    let escaped = |argument: &OsString| printable::line(&argument.to_string_lossy());
    Arguments::try_parse_from(given.iter().map(escaped)).err()
}
