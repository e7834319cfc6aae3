//! Compression of a file.

use std::fs::File;
use std::path::Path;

use unweight_format::write::SeekSink;

use super::comparison::Comparison;
use super::event::{Action, Position, Reporter};
use super::gain::NoGain;
use super::input::open;
use super::options::FileOptions;
use super::report::FileReport;
use crate::container::OpenFile;
use crate::error::{reading, writing};
use crate::output::{Attributes, OutputFile, Target};
use crate::{CompressPlan, Error, Model, OpenOptions, Storage};

/// Compression of the files of one operation.
pub(crate) struct Compression<'a> {
    options: &'a FileOptions,
    reporter: &'a Reporter,
    /// How results are read again.
    reading: OpenOptions,
}

impl<'a> Compression<'a> {
    pub(crate) fn new(options: &'a FileOptions, reporter: &'a Reporter) -> Compression<'a> {
        let mut reading = OpenOptions::new().threads(options.compression.threads.clone());
        reading.memory = options.compression.memory;
        Compression {
            options,
            reporter,
            reading,
        }
    }

    pub(crate) fn compress(
        &self,
        input: &Path,
        target: Target<'_>,
        position: Position<'_>,
    ) -> Result<FileReport, Error> {
        let output = target.name();
        let source = self.open(input)?;
        let output_file = OutputFile::create_at(target, &source.attributes)?;
        self.write(input, output, &source, &output_file, position)?;
        let file = source.into_file();

        if self.options.verify {
            self.compare(input, &file, output, output_file.file()?, position)?;
        }
        let report = FileReport {
            verified: self.options.verify,
            ..self.report(input, &file, output, &output_file.file()?)?
        };
        let step = position.step(Action::Compress);
        self.reporter.commit(output_file, step, &report)?;
        Ok(report)
    }

    /// Compares the file at `place`, which will be called `output`, with the file that
    /// [`compress`](Compression::compress) would make with the same options. Returns None if they
    /// differ.
    pub(crate) fn keep(
        &self,
        input: &Path,
        place: &Path,
        output: &Path,
        position: Position<'_>,
    ) -> Result<Option<FileReport>, Error> {
        let (file, written) = (open(input)?, open(place)?);
        let same = written.try_clone().map_err(reading(output))?;
        match self.compare(input, &file, output, same, position) {
            Ok(()) => {}
            Err(error) if error.is_about_content() => return Ok(None),
            Err(error) => return Err(error),
        }
        let report = FileReport {
            verified: true,
            kept: true,
            ..self.report(input, &file, output, &written)?
        };
        let step = position.step(Action::Compress);
        self.reporter.tell_converted(step, &report);
        Ok(Some(report))
    }

    /// The plan for a file, whose header is read and checked.
    pub(crate) fn plan(&self, input: &Path) -> Result<CompressPlan, Error> {
        Ok(self.open(input)?.plan)
    }

    fn write(
        &self,
        input: &Path,
        output: &Path,
        source: &Source,
        output_file: &OutputFile,
        position: Position<'_>,
    ) -> Result<(), Error> {
        let step = position.step(Action::Compress);
        let total_bytes = source.plan.bytes_to_read();
        let metered = self.reporter.begin(step, &source.file, total_bytes)?;
        let sink = SeekSink::new(output_file.file()?);
        match source.plan.write(&metered, sink) {
            Ok(_) => Ok(()),
            Err(error @ Error::Write(_)) => Err(error.at(output)),
            Err(error) => Err(error.at(input)),
        }
    }

    /// Checks that the written file restores the source.
    fn compare(
        &self,
        input: &Path,
        file: &File,
        output: &Path,
        written: File,
        position: Position<'_>,
    ) -> Result<(), Error> {
        let step = position.step(Action::Verify);
        let length = written.byte_length().map_err(writing(output))?;
        let metered = self.reporter.begin(step, written, length)?;
        let mut comparison = Comparison::with(input, file)?;
        Model::read(Box::new(metered), &self.reading)
            .and_then(|model| model.restore_with(|bytes| comparison.piece(output, bytes)))
            .map_err(|error| error.at(output))?;
        comparison.finish(output)
    }

    fn report(
        &self,
        input: &Path,
        file: &File,
        output: &Path,
        written: &File,
    ) -> Result<FileReport, Error> {
        let opened = OpenFile::read_with(written, |length| self.reading.budget(length))
            .map_err(|error| Error::from(error).at(output))?;
        let container = opened.container();
        let input_bytes = file.byte_length().map_err(reading(input))?;
        let output_bytes = container.header().file_length();
        let selection = &self.options.compression.selection;
        Ok(FileReport {
            no_gain: NoGain::of(&container, selection, input_bytes),
            ..FileReport::new((input, input_bytes), (output, output_bytes), &container)
        })
    }

    fn open(&self, path: &Path) -> Result<Source, Error> {
        let file = open(path)?;
        let attributes = Attributes::of(path, &file)?;
        let plan = CompressPlan::read(&file, &self.options.compression);
        Ok(Source {
            plan: plan.map_err(|error| error.at(path))?,
            file,
            attributes,
        })
    }
}

/// Safetensors file, and the plan for its compression.
struct Source {
    file: File,
    attributes: Attributes,
    plan: CompressPlan,
}

impl Source {
    /// Drops all but the file. The result is opened next and holds the same description of the
    /// tensors. Both together take too much memory.
    fn into_file(self) -> File {
        self.file
    }
}
