//! Standard output: results for people, as JSON, or the bytes that were asked for.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::Serializer;

use crate::commands::Context;
use crate::failure::Failure;
use crate::printable::{EscapingFormatter, escaped_lines, width, wrapped};

/// What stands for standard output among the names of files.
pub(crate) const NAME: &str = "-";
/// What a terminal has that does not say.
const USUAL_COLUMNS: usize = 80;

/// Whether standard output is meant: `-`, or the name that systems have for it.
pub(crate) fn is_meant(path: &Path) -> bool {
    path == Path::new(NAME) || path == Path::new("/dev/stdout")
}

/// The columns of the terminal that standard output is. None if it is something else.
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

/// Writes a line of text, which may have further lines in it, wrapped where the terminal has `columns`.
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

/// Prints as JSON, on several lines.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    write(|output| {
        value.serialize(&mut Serializer::with_formatter(
            &mut *output,
            EscapingFormatter::pretty(),
        ))?;
        writeln!(output)
    })
}

/// Prints as JSON, on one line.
pub(crate) fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    write(|output| {
        value.serialize(&mut Serializer::with_formatter(
            &mut *output,
            EscapingFormatter::compact(),
        ))?;
        writeln!(output)
    })
}

/// Writes what need not be held as a whole. A reader that has seen enough is no failure.
pub(crate) fn write(lines: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout().lock());
    let written = lines(&mut output).and_then(|()| output.flush());
    if written.is_err() {
        // What is left in the buffer has failed already; it is not tried again.
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

/// Standard output that takes the bytes of a tensor or of a file.
pub(crate) struct Bytes {
    stdout: StdoutLock<'static>,
    reader_has_left: bool,
}

impl Bytes {
    /// Refuses a terminal, and JSON beside the bytes.
    pub(crate) fn open(context: &Context) -> Result<Bytes, Failure> {
        if context.json {
            return Err(Failure::Usage(
                "standard output has room for the bytes or for --json; say where to with -o"
                    .to_owned(),
            ));
        }
        let stdout = io::stdout().lock();
        if stdout.is_terminal() {
            return Err(Failure::Usage(
                "raw bytes do not belong on a terminal; say where to with -o, or redirect"
                    .to_owned(),
            ));
        }
        Ok(Bytes {
            stdout,
            reader_has_left: false,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // What stays in the buffer until the end would be lost without a word.
        let written = self.stdout.write_all(bytes);
        let written = written.and_then(|()| self.stdout.flush());
        written.map_err(|error| {
            self.reader_has_left = error.kind() == io::ErrorKind::BrokenPipe;
            failed(error)
        })
    }

    /// What was done, but that a reader that has seen enough is no failure.
    pub(crate) fn finish(self, done: Result<(), Failure>) -> Result<(), Failure> {
        match self.reader_has_left {
            true => Ok(()),
            false => done,
        }
    }
}
