//! Tests of the parser and the writer with each other, and with files that break a rule.

mod records;
mod rejections;
mod round_trip;
mod support;
mod writer;
