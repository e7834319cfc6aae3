//! The commands, one file each, and the code that they share.

pub(crate) mod bench;
mod bench_gpu;
pub(crate) mod compress;
pub(crate) mod decompress;
pub(crate) mod extract;
mod folder;
mod gain;
pub(crate) mod generate;
pub(crate) mod inspect;
mod inspect_words;
pub(crate) mod transcode;
pub(crate) mod tune;
pub(crate) mod verify;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use unweight::{MemoryBudget, Storage, Threads, read_extent};
use unweight_cpu::fast::Codec;
use unweight_format::Extent;

use crate::arguments::{Common, Memory};
use crate::failure::Failure;
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

    /// Memory budget for a file of this length: the budget that was asked for, or one that suffices
    /// for any file and for every thread.
    pub(crate) fn budget(&self, memory: &Memory, length: u64) -> MemoryBudget {
        let default = || MemoryBudget::for_file(length, &self.executor);
        memory.budget().unwrap_or_else(default)
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

/// Comparison of restored bytes with a source, piece by piece.
pub(crate) struct Comparison<'a> {
    path: &'a Path,
    file: &'a File,
    length: u64,
    position: u64,
    buffer: Vec<u8>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn with(path: &'a Path, file: &'a File) -> Result<Comparison<'a>, Failure> {
        let length = file
            .byte_length()
            .map_err(|error| Failure::io(path, error))?;
        Ok(Comparison {
            path,
            file,
            length,
            position: 0,
            buffer: Vec::new(),
        })
    }

    /// Compares the next piece. `of` is the file that the piece was restored from.
    pub(crate) fn piece(&mut self, of: &Path, restored: &[u8]) -> Result<(), Failure> {
        let extent = Extent {
            offset: self.position,
            length: (restored.len() as u64).min(self.length - self.position),
        };
        let source = read_extent(self.file, extent, &mut self.buffer)
            .map_err(|error| Failure::io(self.path, error))?;
        if source != restored {
            let equal = source
                .iter()
                .zip(restored)
                .take_while(|(a, b)| a == b)
                .count();
            let at = self.position + equal as u64;
            return Err(Failure::bad(
                of,
                format!("differs from {} at byte {at}", self.path.display()),
            ));
        }
        self.position += extent.length;
        Ok(())
    }

    /// Checks that the source has no more bytes.
    pub(crate) fn finish(self, of: &Path) -> Result<(), Failure> {
        if self.position == self.length {
            return Ok(());
        }
        Err(Failure::bad(
            of,
            format!(
                "restores {} bytes, but {} has {}",
                self.position,
                self.path.display(),
                self.length
            ),
        ))
    }
}
