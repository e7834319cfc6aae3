//! `unweight`: lossless compression of model weights. `unweight --help` says how to use it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(unweight_cli::main(std::env::args_os()))
}
