//! Transcoding of a file.

use std::fs::File;
use std::path::Path;

use unweight_format::Encoding;
use unweight_format::write::SeekSink;

use super::event::{Action, Position, Reporter};
use super::input::open;
use super::options::FileOptions;
use super::report::FileReport;
use crate::container::OpenFile;
use crate::error::{reading, writing};
use crate::output::{Attributes, OutputFile, Target};
use crate::{Error, Model, Storage};

/// Transcoding of the files of one operation.
pub(crate) struct Transcoding<'a> {
    pub(crate) encoding: Encoding,
    pub(crate) options: &'a FileOptions,
    pub(crate) reporter: &'a Reporter,
}

impl Transcoding<'_> {
    pub(crate) fn transcode(
        &self,
        input: &Path,
        target: Target<'_>,
        position: Position<'_>,
    ) -> Result<FileReport, Error> {
        let output = target.name();
        let file = open(input)?;
        let attributes = Attributes::of(input, &file)?;
        let input_bytes = file.byte_length().map_err(reading(input))?;
        let output_file = OutputFile::create_at(target, &attributes)?;
        let step = position.step(Action::Transcode);
        let total_bytes = self.bytes_to_read(input, &file)?;
        // A cancellation is not retried.
        let storage = self.options.reading.retried(file);
        let metered = self.reporter.begin(step, storage, total_bytes)?;
        let sink = SeekSink::new(output_file.file()?);
        Model::read(Box::new(metered), &self.options.reading)
            .and_then(|model| model.transcode(self.encoding, sink))
            .map_err(|error| match error {
                Error::Write(_) => error.at(output),
                error => error.at(input),
            })?;
        let written = output_file.file()?;
        let output_bytes = written.byte_length().map_err(writing(output))?;
        let opened = OpenFile::read_with(&written, |length| self.options.reading.budget(length));
        let opened = opened.map_err(|error| Error::from(error).at(output))?;
        let (input, output) = ((input, input_bytes), (output, output_bytes));
        let report = FileReport::new(input, output, &opened.container());
        self.reporter.commit(output_file, step, &report)?;
        Ok(report)
    }

    /// Estimate of the bytes that transcoding a file reads. Coded tensors are read twice: to count
    /// their values, and to code them.
    fn bytes_to_read(&self, input: &Path, file: &File) -> Result<u64, Error> {
        let opened = OpenFile::read_with(file, |length| self.options.reading.budget(length));
        let opened = opened.map_err(|error| Error::from(error).at(input))?;
        let container = opened.container();
        let tensors = container.directory().tensors().map(|tensor| {
            let payload = tensor.payload().extent();
            (1 + u64::from(tensor.forms().is_coded())) * payload.length
        });
        Ok(tensors.fold(0, u64::saturating_add))
    }
}
