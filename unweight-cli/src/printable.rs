//! Text for people and for terminals, without control characters.

use std::path::Path;

/// A path as a line for people shows it.
pub(crate) fn shown(path: &Path) -> String {
    line(&path.to_string_lossy())
}

/// A text with its control characters escaped.
pub(crate) fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line
}
