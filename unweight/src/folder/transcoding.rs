//! Transcoding of the files of a folder.

use std::path::Path;

use serde_json::json;

use super::convert::{Conversion, Entry};
use super::space::Need;
use crate::Error;
use crate::error::reading;
use crate::file::{FileReport, Transcoding, UNW_EXTENSION};

impl Conversion for Transcoding<'_> {
    const FROM: &'static str = UNW_EXTENSION;
    const TO: &'static str = UNW_EXTENSION;
    const REQUIRES_ALL_SHARDS: bool = false;

    /// A rough bound: one encoding takes up to twice the space of the other.
    fn check(&mut self, input: &Path) -> Result<Need, Error> {
        let length = input.metadata().map_err(reading(input))?.len();
        Ok(Need {
            at_least: length / 2,
            at_most: length.saturating_mul(2),
        })
    }

    fn settings(&self) -> String {
        json!({"command": "transcode", "encoding": self.encoding.to_string()}).to_string()
    }

    fn convert(&self, entry: &Entry<'_>) -> Result<FileReport, Error> {
        self.transcode(entry.input, entry.target(), entry.position)
    }

    /// Transcoding takes no longer than finding out whether a file is the result of it.
    fn keep(&self, _: &Entry<'_>) -> Result<Option<FileReport>, Error> {
        Ok(None)
    }
}
