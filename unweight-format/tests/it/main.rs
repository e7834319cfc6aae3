//! The parser and the writer against one another, and against files that break a rule.

mod records;
mod rejections;
mod round_trip;
mod support;
mod writer;
