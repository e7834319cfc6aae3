//! Decompression of the files of a folder.

use std::path::Path;

use serde_json::json;

use super::convert::{Conversion, Entry};
use super::space::Need;
use crate::Error;
use crate::file::{FileReport, Restoration};

impl Conversion for Restoration<'_> {
    fn check(&mut self, input: &Path) -> Result<Need, Error> {
        self.source_bytes(input).map(Need::exactly)
    }

    /// The bytes that a container restores depend on nothing else.
    fn settings(&self) -> String {
        json!({"command": "decompress"}).to_string()
    }

    fn convert(&self, entry: &Entry<'_>) -> Result<FileReport, Error> {
        let Entry {
            input, position, ..
        } = *entry;
        self.decompress(input, entry.target(), position)
    }

    fn keep(&self, entry: &Entry<'_>) -> Result<Option<FileReport>, Error> {
        let Entry {
            position,
            input,
            place,
            output,
        } = *entry;
        Restoration::keep(self, input, place, output, position)
    }
}
