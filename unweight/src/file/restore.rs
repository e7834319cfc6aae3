//! Decompression and verification of a file.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::comparison::Comparison;
use super::event::{Action, Event, Position, Reporter, Step};
use super::input::open;
use super::options::FileOptions;
use super::report::FileReport;
use crate::error::{reading, writing};
use crate::output::{Attributes, OutputFile, Target};
use crate::{Error, Model, Storage};

/// Decompression or verification of the files of one operation.
pub(crate) struct Restoration<'a> {
    pub(crate) options: &'a FileOptions,
    pub(crate) reporter: &'a Reporter,
}

impl Restoration<'_> {
    pub(crate) fn decompress(
        &self,
        input: &Path,
        target: Target<'_>,
        position: Position<'_>,
    ) -> Result<FileReport, Error> {
        let output = target.name();
        let file = open(input)?;
        let attributes = Attributes::of(input, &file)?;
        let output_file = OutputFile::create_at(target, &attributes)?;
        let mut written = output_file.file()?;
        let step = position.step(Action::Decompress);
        let report = self.restore(input, file, output, step, |bytes| {
            written.write_all(bytes).map_err(writing(output))
        })?;
        self.reporter.commit(output_file, step, &report)?;
        Ok(report)
    }

    /// Checks one file, and compares it with its source if one is given. Returns the number of
    /// bytes that the file restores.
    pub(crate) fn verify(
        &self,
        path: &Path,
        source_path: Option<&Path>,
        position: Position<'_>,
    ) -> Result<u64, Error> {
        let file = open(path)?;
        let source = source_path.map(open).transpose()?;
        let mut comparison = match (source_path, &source) {
            (Some(path), Some(source)) => Some(Comparison::with(path, source)?),
            _ => None,
        };
        let step = position.step(Action::Verify);
        let report = self.restore(path, file, path, step, |bytes| match &mut comparison {
            Some(comparison) => comparison.piece(path, bytes),
            None => Ok(()),
        })?;
        if let Some(comparison) = comparison {
            comparison.finish(path)?;
        }
        // The file is valid. A cancellation takes effect before the next one.
        let _ = self.reporter.tell(Event::Verified { step });
        Ok(report.output_bytes)
    }

    /// Compares the file at `place`, which will be called `output`, with the file that
    /// [`decompress`](Restoration::decompress) would make. Returns None if they differ.
    pub(crate) fn keep(
        &self,
        input: &Path,
        place: &Path,
        output: &Path,
        position: Position<'_>,
    ) -> Result<Option<FileReport>, Error> {
        let (file, earlier) = (open(input)?, open(place)?);
        let mut comparison = Comparison::with(output, &earlier)?;
        let mut differs = false;
        let step = position.step(Action::Compare);
        let restored = self.restore(input, file, output, step, |bytes| {
            let compared = comparison.piece(input, bytes);
            compared.inspect_err(|error| differs = error.is_about_content())
        });
        if differs {
            return Ok(None);
        }
        let report = FileReport {
            verified: true,
            kept: true,
            ..restored?
        };
        if comparison.finish(input).is_err() {
            return Ok(None);
        }
        let step = position.step(Action::Decompress);
        self.reporter.tell_converted(step, &report);
        Ok(Some(report))
    }

    /// The length of the source of a container, whose header and directory are read and checked.
    pub(crate) fn source_bytes(&self, input: &Path) -> Result<u64, Error> {
        let file = open(input)?;
        let model = Model::read(Box::new(file), &self.options.reading);
        let model = model.map_err(|error| error.at(input))?;
        Ok(model.restored_bytes())
    }

    /// Passes the restored bytes of a file to `write`, in order and in pieces.
    fn restore(
        &self,
        input: &Path,
        file: File,
        output: &Path,
        step: Step<'_>,
        mut write: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<FileReport, Error> {
        let options = &self.options.reading;
        let input_bytes = file.byte_length().map_err(reading(input))?;
        // A cancellation is not retried.
        let storage = options.retried(file);
        let metered = self.reporter.begin(step, storage, input_bytes)?;
        let model = Model::read(Box::new(metered), options).map_err(|error| error.at(input))?;
        let mut output_bytes = 0;
        model
            .restore_with(|bytes| {
                output_bytes += bytes.len() as u64;
                write(bytes)
            })
            .map_err(|error| error.at(input))?;
        let (input, output) = ((input, input_bytes), (output, output_bytes));
        Ok(FileReport::new(input, output, &model.container()))
    }
}
