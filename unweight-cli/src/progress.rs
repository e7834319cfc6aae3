//! Progress, by the bytes that are read.

use std::fs::File;
use std::io;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use unweight_cpu::{Storage, read_extent};
use unweight_format::Extent;

/// A bar with rate and time left on standard error; nothing if that is not a terminal, or `silent`.
pub(crate) fn bar(silent: bool, message: &str, total_bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(total_bytes);
    if silent {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = "{msg} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
    bar.set_style(
        ProgressStyle::with_template(style)
            .expect("the template is constant")
            .progress_chars("=> "),
    );
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A count of steps, as many as there turn out to be, on standard error; nothing if that is not a terminal, or `silent`.
pub(crate) fn steps(silent: bool, message: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if silent {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = "{spinner} {msg}, {pos} measured, {elapsed}";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is constant"));
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
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
