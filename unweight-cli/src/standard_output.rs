//! Standard output: results for people, as JSON, or the bytes that were asked for.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::Serializer;

use crate::commands::Context;
use crate::failure::Failure;
use crate::printable::{EscapingFormatter, escaped_lines, width, wrapped};

/// Name that means standard output where a file is expected.
pub(crate) const NAME: &str = "-";
/// Number of columns of a terminal that does not report it.
const USUAL_COLUMNS: usize = 80;

/// Whether a path means standard output. Such a path is `-`, or the system's name for standard
/// output.
pub(crate) fn is_meant(path: &Path) -> bool {
    path == Path::new(NAME) || path == Path::new("/dev/stdout")
}

/// Number of columns of the terminal on standard output. None if standard output is not a terminal.
pub(crate) fn columns() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = terminal_size::terminal_size_of(&stdout);
    let columns = size.map_or(0, |(terminal_size::Width(columns), _)| columns);
    Some(match columns {
        0 => USUAL_COLUMNS,
        columns => columns.into(),
    })
}

/// Prints lines for people. Lines that are wider than the terminal are wrapped at blanks.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let columns = columns();
    write(|output| {
        for line in text.lines() {
            write_line(output, line, columns)?;
        }
        Ok(())
    })
}

/// Writes text of one or more lines. Lines are wrapped at `columns`, if the terminal has a width.
pub(crate) fn write_line(
    output: &mut dyn Write,
    text: &str,
    columns: Option<usize>,
) -> io::Result<()> {
    let text = escaped_lines(text);
    match columns {
        Some(columns) if text.lines().any(|line| width(line) > columns) => {
            writeln!(output, "{}", wrapped(&text, columns))
        }
        _ => writeln!(output, "{text}"),
    }
}

/// Prints a value as JSON, on several lines.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    write(|output| {
        value.serialize(&mut Serializer::with_formatter(
            &mut *output,
            EscapingFormatter::pretty(),
        ))?;
        writeln!(output)
    })
}

/// Prints a value as JSON, on one line.
pub(crate) fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    write(|output| {
        value.serialize(&mut Serializer::with_formatter(
            &mut *output,
            EscapingFormatter::compact(),
        ))?;
        writeln!(output)
    })
}

/// Writes output that need not be held in memory as a whole. A reader that has closed the pipe is
/// no failure.
pub(crate) fn write(lines: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout().lock());
    let written = lines(&mut output).and_then(|()| output.flush());
    if written.is_err() {
        // Writing the rest of the buffer has failed already, and is not tried again.
        let _ = output.into_parts();
    }
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(failed(error)),
        _ => Ok(()),
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::io(Path::new("standard output"), error)
}

/// Standard output for the bytes of a tensor or of a file.
pub(crate) struct Bytes {
    stdout: StdoutLock<'static>,
    reader_has_left: bool,
}

impl Bytes {
    /// Opens standard output. Refuses a terminal, and refuses `--json` beside the bytes.
    pub(crate) fn open(context: &Context) -> Result<Bytes, Failure> {
        if context.json {
            return Err(Failure::Usage(
                "standard output takes either the data or --json; name a file with -o".to_owned(),
            ));
        }
        let stdout = io::stdout().lock();
        if stdout.is_terminal() {
            return Err(Failure::Usage(
                "standard output is a terminal, expected a file or a pipe for raw data; redirect it or name a file with -o"
                    .to_owned(),
            ));
        }
        Ok(Bytes {
            stdout,
            reader_has_left: false,
        })
    }

    /// Writes bytes for an operation of the library.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), unweight::Error> {
        // Without this flush, an error on the last bytes in the buffer would be lost.
        let written = self.stdout.write_all(bytes);
        let written = written.and_then(|()| self.stdout.flush());
        written.map_err(|error| {
            self.reader_has_left = error.kind() == io::ErrorKind::BrokenPipe;
            unweight::Error::Write(error)
        })
    }

    /// Returns the result of an operation that read `input`, except that a reader that has closed
    /// the pipe is no failure.
    pub(crate) fn finish(
        self,
        input: &Path,
        done: Result<(), unweight::Error>,
    ) -> Result<(), Failure> {
        match done {
            Err(error) if !self.reader_has_left => Err(Failure::converting(
                input,
                Path::new("standard output"),
                error,
            )),
            _ => Ok(()),
        }
    }
}
