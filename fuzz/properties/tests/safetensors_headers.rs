//! Safetensors headers composed of right and wrong parts: compares the strict reader with the
//! `safetensors` crate.

use unweight_properties::safetensors_in;
use unweight_testkit::Random;

const SPACES: &[&str] = &[
    "", "", "", "", "", "", "", " ", "\n", "\t\r\n ", "\u{c}", "\0",
];
const NAMES: &[&str] = &[
    "a",
    "b",
    "b",
    "",
    "\\u0061",
    "é",
    "\\ud83d\\ude00",
    "\\ud83d",
    "__metadata_",
    "dtype",
];
const METADATA_NAMES: &[&str] = &["__metadata__", "\\u005f_metadata__"];
const METADATA: &[&str] = &[
    "{}",
    "null",
    "null",
    "NULL",
    "nul",
    "nulll",
    "null null",
    "null{}",
    "\"null\"",
    "[]",
    "[null]",
    "false",
    "true",
    "0",
    "-0",
    "0.5",
    "1e3",
    "1e999",
    "18446744073709551616",
    "{\"a\":\"b\"}",
    "{\"a\":null}",
    "{\"a\":1}",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"1\",\"a\":\"2\"}",
    "{\"a\":{}}",
    "{null:\"\"}",
    "",
];
const DTYPES: &[&str] = &[
    "\"U8\"",
    "\"U8\"",
    "\"U8\"",
    "\"\\u00558\"",
    "\"u8\"",
    "\"F4\"",
    "\"BF16\"",
    "null",
    "2",
    "{\"U8\":null}",
    "[\"U8\"]",
    "{}",
];
const DIMENSIONS: &[&str] = &[
    "2",
    "2",
    "2",
    "1",
    "1",
    "0",
    "0",
    "-0",
    "-2",
    "2.0",
    "2e0",
    "02",
    "+2",
    "null",
    "\"2\"",
    "[2]",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
];
const MEMBERS: &[&str] = &[
    "\"x\":1",
    "\"x\":null",
    "\"x\":[[[]]]",
    "\"dtype\":\"U8\"",
    "\"Dtype\":\"U8\"",
    "\"shape\":[2]",
    "\"data_offsets\":[0,2]",
];
const BEFORE: &[&str] = &[" ", "\n", "\u{feff}", "[", "{"];
const BEHIND: &[&str] = &[" ", "\n\t\r ", "\0", "\u{a0}", "}", "{}", "null", ","];

struct Headers(Random);

impl Headers {
    fn one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.0.below(texts.len() as u64) as usize]
    }

    fn seldom(&mut self) -> bool {
        self.0.below(12) == 0
    }

    fn header(&mut self) -> String {
        let mut members = Vec::new();
        let mut end = 0;
        for _ in 0..self.0.below(4) {
            let length = self.0.below(3);
            members.push(self.tensor(end, end + length));
            end += length;
        }
        for _ in 0..[0, 1, 1, 1, 2][self.0.below(5) as usize] {
            let (name, value) = (self.one_of(METADATA_NAMES), self.one_of(METADATA));
            let at = self.0.below(members.len() as u64 + 1) as usize;
            members.insert(at, self.spaced(&["\"", name, "\"", ":", value], 3));
        }
        let mut header = format!("{{{}}}", members.join(","));
        if self.seldom() {
            header.insert_str(0, self.one_of(BEFORE));
        }
        if self.seldom() {
            header.push_str(self.one_of(BEHIND));
        }
        if self.seldom() {
            let at = self.0.below(header.len() as u64) as usize;
            if header.is_char_boundary(at) && header.is_char_boundary(at + 1) {
                header.remove(at);
            }
        }
        header
    }

    /// Joins these texts, with white space between those from index `from` on.
    fn spaced(&mut self, texts: &[&str], from: usize) -> String {
        let mut all = texts[..from].concat();
        for text in &texts[from..] {
            all.push_str(self.one_of(SPACES));
            all.push_str(text);
        }
        all.push_str(self.one_of(SPACES));
        all
    }

    fn tensor(&mut self, begin: u64, end: u64) -> String {
        let name = self.one_of(NAMES);
        if self.seldom() {
            let value = self.one_of(&["null", "{}", "[]", "\"\"", "0", "[\"U8\",[2],[0,2]]"]);
            return format!("\"{name}\":{value}");
        }
        let mut dtype = "\"U8\"";
        let mut shape = (end - begin).to_string();
        let (mut from, mut to) = (begin.to_string(), end.to_string());
        if self.seldom() {
            dtype = self.one_of(DTYPES);
        }
        if self.seldom() {
            let dimensions: Vec<&str> = (0..self.0.below(4))
                .map(|_| self.one_of(DIMENSIONS))
                .collect();
            shape = dimensions.join(",");
        }
        if self.seldom() {
            from = self.one_of(DIMENSIONS).to_owned();
        }
        if self.seldom() {
            to = self.one_of(DIMENSIONS).to_owned();
        }
        let mut members = vec![
            format!("\"dtype\":{dtype}"),
            format!("\"shape\":[{shape}]"),
            format!("\"data_offsets\":[{from},{to}]"),
        ];
        let rotation = self.0.below(3) as usize;
        members.rotate_left(rotation);
        if self.seldom() {
            members.push(self.one_of(MEMBERS).to_owned());
        }
        if self.seldom() {
            members.pop();
        }
        let members = members.join(",");
        self.spaced(&["\"", name, "\"", ":", "{", &members, "}"], 3)
    }
}

#[test]
fn the_strict_reader_and_the_crate_differ_only_where_it_is_written_down() {
    let mut headers = Headers(Random::new(18));
    for _ in 0..30_000 {
        let header = headers.header();
        let outcome = std::panic::catch_unwind(|| safetensors_in(header.as_bytes()));
        assert!(outcome.is_ok(), "{header:?}");
    }
}
