//! Progress bars, measured in bytes that are read.

use std::fs::File;
use std::io;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use unweight::{Storage, read_extent};
use unweight_format::Extent;

use crate::printable::{escaped, shortened};

/// Least number of terminal columns that leave room for a bar.
const BAR_FROM_COLUMNS: u16 = 60;
/// Least number of columns of the message beside a bar.
const MESSAGE_COLUMNS: u16 = 12;
/// Number of columns of everything else beside the bar: numbers, rate, and the time that is left.
const NUMBERS_COLUMNS: u16 = 48;

/// Bar on standard error with the rate and the time that is left. The bar is hidden if standard
/// error is not a terminal, or if `silent` is set.
pub(crate) fn bar(silent: bool, message: &str, total_bytes: u64) -> ProgressBar {
    let columns = columns();
    let bar = ProgressBar::with_draw_target(Some(total_bytes), target(silent));
    bar.set_style(style(match columns {
        BAR_FROM_COLUMNS.. => "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec}, {eta}",
        _ => "{wide_msg} {percent:>3}% {eta:>4}",
    }));
    let room = columns.saturating_sub(NUMBERS_COLUMNS).max(MESSAGE_COLUMNS);
    bar.set_message(shortened(&escaped(message), room.into()).into_owned());
    // The bar is drawn when it moves. A thread that redraws it might fail to start, and would then
    // end the program.
    bar.tick();
    bar
}

/// Count of steps on standard error, for a number of steps that is not known. The count is hidden
/// if standard error is not a terminal, or if `silent` is set.
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
        // The bar is hidden as well if standard error is not a terminal.
        false => ProgressDrawTarget::stderr(),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is constant")
        .progress_chars("=> ")
}

/// Number of columns of the terminal on standard error.
fn columns() -> u16 {
    const USUAL: u16 = 80;
    match terminal_size::terminal_size_of(io::stderr()) {
        Some((terminal_size::Width(0), _)) | None => USUAL,
        Some((terminal_size::Width(columns), _)) => columns,
    }
}

/// File whose reads move a progress bar.
pub(crate) struct Metered {
    pub(crate) file: File,
    pub(crate) bar: ProgressBar,
}

impl Storage for Metered {
    fn byte_length(&self) -> io::Result<u64> {
        self.file.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let bytes = read_extent(&self.file, extent, buffer)?;
        self.bar.inc(extent.length);
        Ok(bytes)
    }
}
