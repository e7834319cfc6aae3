//! The program `unweight`.

use std::ffi::OsString;
use std::io::{Write, stdout};

use pyo3::prelude::*;

/// Runs the program with these arguments, the first of which is its name. Returns its exit code.
#[pyfunction]
pub(crate) fn run_program(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| {
        let code = unweight_cli::main(arguments);
        // A Rust program does this at its end. The program has reported what cannot be written.
        let _ = stdout().flush();
        code
    })
}
