//! The commands, one file each, and the code that they share.

pub(crate) mod bench;
mod bench_gpu;
pub(crate) mod compress;
pub(crate) mod decompress;
pub(crate) mod extract;
mod folder;
pub(crate) mod generate;
pub(crate) mod inspect;
mod inspect_json;
mod inspect_words;
pub(crate) mod report;
mod report_page;
mod screen;
pub(crate) mod transcode;
pub(crate) mod tune;
pub(crate) mod verify;

use std::io::{self, Write};

use serde::Serialize;
use unweight::{Backend, OpenOptions, Threads};
use unweight_cpu::fast::Codec;

use crate::arguments::{Common, Memory};
use crate::failure::Failure;
use crate::gpu::Gpu;
use crate::standard_output;
use crate::warning;

/// Data that every command works with.
pub(crate) struct Context {
    pub(crate) executor: Threads,
    /// Number of threads that was asked for. None means one thread for each processor.
    pub(crate) threads: Option<usize>,
    quiet: bool,
    pub(crate) json: bool,
}

impl Context {
    pub(crate) fn new(common: &Common) -> Result<Context, Failure> {
        if common.quiet {
            warning::silence();
        }
        // An ISA that was asked for and cannot be used is an error. The program must not use
        // another one instead.
        Codec::named_by_environment().map_err(|error| Failure::Usage(error.to_string()))?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = common.threads.map_or(processors, usize::from);
        Ok(Context {
            executor: Threads::with_refusals(threads, |refused| {
                warning::warn(format!(
                    "{} threads could not be started ({}); continuing with {}",
                    refused.wanted, refused.error, refused.left
                ));
            }),
            threads: common.threads.map(usize::from),
            quiet: common.quiet,
            json: common.json,
        })
    }

    /// How containers are read, on this device if one is given.
    pub(crate) fn reading(&self, memory: &Memory, gpu: Option<Gpu>) -> OpenOptions {
        let mut options = OpenOptions::new().threads(self.executor.clone());
        if let Some(budget) = memory.budget() {
            options = options.memory(budget);
        }
        match gpu {
            Some(device) => options.backend(Backend::Cuda(device)),
            None => options,
        }
    }

    /// Whether progress bars are to stay hidden.
    pub(crate) fn silent(&self) -> bool {
        self.quiet || self.json
    }

    /// Prints the result, unless quiet. The result is JSON if asked for, and otherwise words.
    pub(crate) fn print_result(
        &self,
        result: &impl Serialize,
        words: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            standard_output::print_json(result)
        } else if self.quiet {
            Ok(())
        } else {
            standard_output::print(&words())
        }
    }

    /// Does the same as [`Context::print_result`] for words that are too many to be held in memory.
    /// They are written line by line, for a terminal of so many columns, or for no terminal.
    pub(crate) fn print_long_result(
        &self,
        result: &impl Serialize,
        words: impl FnOnce(&mut dyn Write, Option<usize>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.json {
            standard_output::print_json(result)
        } else if self.quiet {
            Ok(())
        } else {
            standard_output::write(|output| words(output, standard_output::columns()))
        }
    }
}

/// Failure of an operation that should not fail, because its input was made here.
fn failed<E: std::fmt::Display>(error: E) -> Failure {
    Failure::Io(error.to_string())
}
