//! `unweight-conformance explain`.

use std::{fs, path::PathBuf};

use clap::Args;
use unweight_conformance_runner::inspect::{Choice, explain};

use super::{Found, print};

/// Print the inner values of a file: header, directory, forms, palettes, and of each record its kind,
/// code lengths, codes, lane ends, patches, and the costs by which an encoder chooses the code
///
/// The file may be invalid: what cannot be read is said in its place. The rules are not checked.
#[derive(Args)]
pub(super) struct Arguments {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Only the tensor with this name
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,

    /// Only the records of this chunk
    #[arg(long, value_name = "N")]
    chunk: Option<u64>,

    /// At most so many records of each tensor
    #[arg(long, value_name = "N", default_value_t = Choice::default().records)]
    records: usize,
}

impl Arguments {
    pub(super) fn run(self) -> Found {
        let path = self.file.display();
        let bytes = fs::read(&self.file).map_err(|error| format!("cannot read {path}: {error}"))?;
        let choice = Choice {
            tensor: self.tensor,
            chunk: self.chunk,
            records: self.records,
        };
        print(&explain(&bytes, &choice).map_err(|problem| format!("{path}: {problem}"))?)?;
        Ok(true)
    }
}
