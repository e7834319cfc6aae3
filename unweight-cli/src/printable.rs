//! Text for people and for terminals. Characters that are invisible or control a terminal are
//! escaped, and long text is shortened.
//!
//! Names of tensors and files come from untrusted files. Every line for people is made of strings
//! that these functions return, and JSON goes through [`EscapingFormatter`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Replacement for the part of a text that is left out. Terminals disagree on the width of U+2026,
/// and not all of them can show it.
const ELLIPSIS: &str = "...";

/// Maximum number of characters in a line that reports a failure.
pub(crate) const LINE_CHARACTERS: usize = 1_000;
/// Maximum number of characters of a name in a message.
const NAME_CHARACTERS: usize = 200;

/// Whether a character controls a terminal, changes the order of other characters, or is invisible.
/// Such characters are controls (C0, DEL, C1), line and paragraph separators, Unicode's default
/// ignorable code points (bidirectional and zero-width characters among them), and the replacement
/// character, which stands for bytes that are not text.
pub(crate) fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
            | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{FFFD}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Escapes the characters of [`needs_escape`] in a text, for example as `\n` or `\u{202e}`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |_| false)
}

/// Escapes text of several lines like [`escaped`], but keeps line feeds.
pub(crate) fn escaped_lines(text: &str) -> Cow<'_, str> {
    escaped_but(text, |character| character == '\n')
}

fn escaped_but(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_escaped = |character: char| needs_escape(character) && !is_kept(character);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_escaped(character) {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    Cow::Owned(line)
}

/// A path in the form that lines for people show, escaped.
pub(crate) fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}

/// A name in the form that messages show: in quotes, escaped, and not too long.
pub(crate) fn quoted(name: &str) -> String {
    let mut text = String::from('"');
    for character in shortened_to_characters(name, NAME_CHARACTERS).chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            _ if needs_escape(character) => text.extend(character.escape_default()),
            _ => text.push(character),
        }
    }
    text.push('"');
    text
}

/// Escapes a line and shortens it to [`LINE_CHARACTERS`]. The middle of a longer line is left out,
/// because its start names the file and its end says what to do.
pub(crate) fn line(text: &str) -> String {
    // Escaping never shortens a text, so that this cut does not change the result. It bounds the
    // escaped text, because an escaped character takes ten characters at most.
    let text = shortened_to_characters(text, 2 * LINE_CHARACTERS);
    shortened_to_characters(&escaped(&text), LINE_CHARACTERS).into_owned()
}

fn shortened_to_characters(text: &str, most: usize) -> Cow<'_, str> {
    // A text never has fewer bytes than characters.
    if text.len() <= most || text.chars().count() <= most {
        return Cow::Borrowed(text);
    }
    let head = most / 2;
    let tail = most - head - ELLIPSIS.len();
    let byte = |(offset, _): (usize, char)| offset;
    let head_end = text.char_indices().nth(head).map_or(text.len(), byte);
    let tail_start = text.char_indices().rev().nth(tail.saturating_sub(1));
    let tail_start = tail_start.map_or(text.len(), byte);
    Cow::Owned(format!(
        "{}{ELLIPSIS}{}",
        &text[..head_end],
        &text[tail_start..]
    ))
}

/// Number of columns that a text takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Shortens an escaped text to so many columns by leaving out its middle.
pub(crate) fn shortened(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let Some(kept) = columns.checked_sub(ELLIPSIS.len()) else {
        return Cow::Borrowed(&ELLIPSIS[..columns]);
    };
    // The end of a tensor's name says more than its start.
    let head = prefix(text, kept / 2);
    let tail = suffix(&text[head.len()..], kept - width(head));
    Cow::Owned(format!("{head}{ELLIPSIS}{tail}"))
}

/// Longest prefix of a text that takes no more than so many columns.
fn prefix(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    for (offset, character) in text.char_indices() {
        taken += character.width().unwrap_or(0);
        if taken > columns {
            return &text[..offset];
        }
    }
    text
}

/// Longest suffix of a text that takes no more than so many columns.
fn suffix(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    let mut start = text.len();
    for (offset, character) in text.char_indices().rev() {
        taken += character.width().unwrap_or(0);
        if taken > columns {
            break;
        }
        start = offset;
    }
    &text[start..]
}

/// Breaks a text at blanks into lines of at most so many columns. All lines after the first are
/// indented. Longer words stay whole.
pub(crate) fn wrapped(text: &str, columns: usize) -> String {
    const INDENT: &str = "  ";
    let mut lines = String::with_capacity(text.len() + 16);
    let mut taken = 0;
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        let mut word = Cow::Borrowed(word);
        // A unit stays with its number.
        while let Some(unit) = words.next_if(|next| next.starts_with('%')) {
            word = format!("{word} {unit}").into();
        }
        let is_first = lines.is_empty();
        if !is_first && taken + 1 + width(&word) > columns {
            lines.push('\n');
            lines.push_str(INDENT);
            taken = INDENT.len();
        } else if !is_first {
            lines.push(' ');
            taken += 1;
        }
        lines.push_str(&word);
        taken += width(&word);
    }
    lines
}

/// Formatter of JSON that writes the characters of [`needs_escape`] in strings as `\u` escapes. The
/// JSON decodes to the same text.
pub(crate) struct EscapingFormatter<F>(F);

impl EscapingFormatter<PrettyFormatter<'static>> {
    pub(crate) fn pretty() -> Self {
        EscapingFormatter(PrettyFormatter::new())
    }
}

impl EscapingFormatter<CompactFormatter> {
    pub(crate) fn compact() -> Self {
        EscapingFormatter(CompactFormatter)
    }
}

impl<F: Formatter> Formatter for EscapingFormatter<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(offset) = rest.find(needs_escape) {
            self.0.write_string_fragment(writer, &rest[..offset])?;
            let mut characters = rest[offset..].chars();
            let character = characters.next().unwrap_or_default();
            let mut escape = String::new();
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(escape, "\\u{unit:04x}");
            }
            writer.write_all(escape.as_bytes())?;
            rest = characters.as_str();
        }
        self.0.write_string_fragment(writer, rest)
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        char_escape: CharEscape,
    ) -> io::Result<()> {
        self.0.write_char_escape(writer, char_escape)
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_steers_or_hides_and_nothing_else() {
        assert_eq!(
            escaped("重み e\u{301} 🦀 C:\\x \"q\""),
            "重み e\u{301} 🦀 C:\\x \"q\""
        );
        for character in [
            '\0',
            '\n',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{fffd}',
            '\u{e0041}',
        ] {
            let text = format!("a{character}b");
            let line = escaped(&text);
            assert!(
                !line.contains(character) && line.starts_with("a\\"),
                "{line}"
            );
            assert!(!quoted(&text).contains(character));
        }
        assert_eq!(escaped_lines("a\nb\t"), "a\nb\\t");
    }

    #[test]
    fn shortens_in_the_middle_by_columns() {
        let name = "model.layers.1.self_attn.q_proj.weight";
        assert_eq!(shortened(name, 38), name);
        assert_eq!(shortened(name, 21), "model.lay...oj.weight");
        assert_eq!(shortened(name, 3), "...");
        assert_eq!(shortened(name, 0), "");
        // Each of these characters takes two columns.
        assert_eq!(shortened("重重重重重", 9), "重...重重");
        for columns in 0..40 {
            assert!(width(&shortened(name, columns)) <= columns);
            assert!(width(&shortened("重a重b重c重d", columns)) <= columns);
        }
    }

    #[test]
    fn a_line_has_an_upper_length_and_keeps_both_ends() {
        let long = format!("m.unw: {}: allow more", "\u{1b}重".repeat(60_000));
        let line = line(&long);
        assert_eq!(line.chars().count(), LINE_CHARACTERS);
        assert!(line.starts_with("m.unw: \\u{1b}") && line.ends_with(": allow more"));
        assert_eq!(super::line("short"), "short");
        assert!(quoted(&"x".repeat(60_000)).len() < 210);
    }

    #[test]
    fn wraps_at_blanks() {
        assert_eq!(wrapped("one two three", 40), "one two three");
        assert_eq!(wrapped("one two three", 8), "one two\n  three");
        assert_eq!(
            wrapped("about (66.7 %), yes", 12),
            "about\n  (66.7 %),\n  yes"
        );
        assert_eq!(
            wrapped("a-word-that-is-long b", 8),
            "a-word-that-is-long\n  b"
        );
    }

    #[test]
    fn json_decodes_to_the_same_text() {
        let text = "a\u{1b}\u{7f}\u{85}\u{202e}\u{2028}\"\\\n\u{e0041}重z";
        let mut bytes = Vec::new();
        let formatter = EscapingFormatter::compact();
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        serde::Serialize::serialize(&[text], &mut serializer).unwrap();
        let json = String::from_utf8(bytes).unwrap();
        assert!(!json.contains(needs_escape), "{json:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [text]);
    }
}
