//! Progress, by the bytes that are read.

use std::fs::File;
use std::io;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use unweight::{Storage, read_extent};
use unweight_format::Extent;

use crate::printable::{escaped, shortened};

/// Where the terminal has fewer columns, a bar has no room.
const BAR_FROM_COLUMNS: u16 = 60;
/// Columns of the message beside a bar, at least.
const MESSAGE_COLUMNS: u16 = 12;
/// Columns of everything else beside it, but for the bar itself: numbers, rate, and the time that is left.
const NUMBERS_COLUMNS: u16 = 48;

/// A bar with rate and time left on standard error; nothing if that is not a terminal, or `silent`.
pub(crate) fn bar(silent: bool, message: &str, total_bytes: u64) -> ProgressBar {
    let columns = columns();
    let bar = ProgressBar::with_draw_target(Some(total_bytes), target(silent));
    bar.set_style(style(match columns {
        BAR_FROM_COLUMNS.. => "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec}, {eta}",
        _ => "{wide_msg} {percent:>3}% {eta:>4}",
    }));
    let room = columns.saturating_sub(NUMBERS_COLUMNS).max(MESSAGE_COLUMNS);
    bar.set_message(shortened(&escaped(message), room.into()).into_owned());
    // It is drawn when it moves. A thread that draws it in between might not start, and then the program would end.
    bar.tick();
    bar
}

/// A count of steps, as many as there turn out to be, on standard error; nothing if that is not a terminal, or `silent`.
pub(crate) fn steps(silent: bool, message: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target(silent));
    bar.set_style(style("{spinner} {pos} measured, {elapsed}: {wide_msg}"));
    bar.set_message(escaped(message).into_owned());
    bar.tick();
    bar
}

fn target(silent: bool) -> ProgressDrawTarget {
    match silent {
        true => ProgressDrawTarget::hidden(),
        // It is hidden too where standard error is no terminal.
        false => ProgressDrawTarget::stderr(),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is constant")
        .progress_chars("=> ")
}

/// Of the terminal that standard error is.
fn columns() -> u16 {
    const USUAL: u16 = 80;
    match terminal_size::terminal_size_of(io::stderr()) {
        Some((terminal_size::Width(0), _)) | None => USUAL,
        Some((terminal_size::Width(columns), _)) => columns,
    }
}

/// A file whose reads move a bar.
pub(crate) struct Metered<'a> {
    pub(crate) file: &'a File,
    pub(crate) bar: &'a ProgressBar,
}

impl Storage for Metered<'_> {
    fn byte_length(&self) -> io::Result<u64> {
        self.file.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let bytes = read_extent(self.file, extent, buffer)?;
        self.bar.inc(extent.length);
        Ok(bytes)
    }
}
