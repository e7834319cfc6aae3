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

    /// An estimate that leads to a warning alone: a palette rarely takes twice the space of codes, and
    /// codes of values that are almost all equal take next to none.
    fn check(&mut self, input: &Path) -> Result<Need, Error> {
        let length = input.metadata().map_err(reading(input))?.len();
        Ok(Need {
            at_least: 0,
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
