//! Compression of the files of a folder.

use std::fmt;
use std::path::Path;

use serde_json::json;

use super::convert::{Conversion, Entry};
use super::space::Need;
use crate::file::{
    Compression, FileOptions, FileReport, Reporter, SAFETENSORS_EXTENSION, UNW_EXTENSION,
};
use crate::{CompressPlan, Error};

/// Compression of the files of a folder.
pub(crate) struct FolderCompression<'a> {
    options: &'a FileOptions,
    files: Compression<'a>,
    selection: SelectionHash,
}

impl<'a> FolderCompression<'a> {
    pub(crate) fn new(options: &'a FileOptions, reporter: &'a Reporter) -> FolderCompression<'a> {
        FolderCompression {
            options,
            files: Compression::new(options, reporter),
            selection: SelectionHash::default(),
        }
    }
}

impl Conversion for FolderCompression<'_> {
    const FROM: &'static str = SAFETENSORS_EXTENSION;
    const TO: &'static str = UNW_EXTENSION;
    const REQUIRES_ALL_SHARDS: bool = false;

    fn check(&mut self, input: &Path) -> Result<Need, Error> {
        let plan = self.files.plan(input)?;
        if !self.options.compression.selection.is_default() {
            self.selection.add(&plan);
        }
        let bytes = plan.container_bytes();
        Ok(Need {
            at_least: *bytes.start(),
            at_most: *bytes.end(),
        })
    }

    fn settings(&self) -> String {
        json!({
            "command": "compress",
            "version": env!("CARGO_PKG_VERSION"),
            "encoding": self.options.compression.encoding.to_string(),
            "chunk": self.options.compression.chunk_size_log2,
            "selection": self.selection.to_string(),
        })
        .to_string()
    }

    fn convert(&self, entry: &Entry<'_>) -> Result<FileReport, Error> {
        self.files
            .compress(entry.input, entry.target(), entry.position)
    }

    fn keep(&self, entry: &Entry<'_>) -> Result<Option<FileReport>, Error> {
        self.files
            .keep(entry.input, entry.place, entry.output, entry.position)
    }
}

/// Identity of a selection of tensors: two selections that differ on the tensors of a folder have
/// different hashes, but for a collision.
#[derive(Default)]
struct SelectionHash {
    compressed: u64,
    hash: crc32fast::Hasher,
}

impl SelectionHash {
    fn add(&mut self, plan: &CompressPlan) {
        for tensor in &plan.header().tensors {
            let is_compressed = plan.may_be_compressed(tensor);
            self.compressed += u64::from(is_compressed);
            self.hash.update(tensor.name.as_bytes());
            // No name contains this byte, because names are UTF-8.
            self.hash.update(&[0xff, is_compressed.into()]);
        }
    }
}

impl fmt::Display for SelectionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:08x}",
            self.compressed,
            self.hash.clone().finalize()
        )
    }
}
