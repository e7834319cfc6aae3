//! Decompression of the files of a folder.

use std::path::Path;

use serde_json::json;

use super::convert::{Conversion, Entry};
use super::space::Need;
use crate::Error;
use crate::file::{FileReport, Restoration, SAFETENSORS_EXTENSION, UNW_EXTENSION};

impl Conversion for Restoration<'_> {
    const FROM: &'static str = UNW_EXTENSION;
    const TO: &'static str = SAFETENSORS_EXTENSION;
    const REQUIRES_ALL_SHARDS: bool = true;

    fn check(&mut self, input: &Path) -> Result<Need, Error> {
        self.source_bytes(input).map(Need::exactly)
    }

    /// The bytes that a container restores depend on nothing else.
    fn settings(&self) -> String {
        json!({"command": "decompress"}).to_string()
    }

    fn convert(&self, entry: &Entry<'_>) -> Result<FileReport, Error> {
        self.decompress(entry.input, entry.target(), entry.position)
    }

    fn keep(&self, entry: &Entry<'_>) -> Result<Option<FileReport>, Error> {
        Restoration::keep(self, entry.input, entry.place, entry.output, entry.position)
    }
}
