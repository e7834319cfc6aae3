//! Drives the real binary and the library over a small corpus of a toy format.

mod api;
mod coverage;
mod fixture;
mod list;
mod manifest;
mod outcomes;
mod reports;
mod run;
