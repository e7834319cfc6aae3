//! Checks untrusted files in 64 MiB of memory:
//! `cargo run --release -p unweight --example verify -- a.unw b.unw`.

use std::process::ExitCode;

use unweight::{Error, MemoryBudget, OpenOptions};

fn main() -> ExitCode {
    let options = OpenOptions::new().memory(MemoryBudget::of_bytes(64 << 20));
    let mut all_are_valid = true;
    for path in std::env::args().skip(1) {
        match options.open(&path).and_then(|model| model.verify()) {
            Ok(()) => println!("{path}: valid"),
            Err(error) => {
                all_are_valid = false;
                match &error {
                    Error::Rule { error: broken, .. } => {
                        println!("{path}: breaks section {}: {error}", broken.rule.section());
                    }
                    Error::OverBudget(_) => println!("{path}: may be valid: {error}"),
                    _ => println!("{path}: could not be read: {error}"),
                }
            }
        }
    }
    ExitCode::from(u8::from(!all_are_valid))
}
