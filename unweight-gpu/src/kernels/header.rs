//! Headers of kernels.

/// A header and its name in `#include "name"`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Path below the crate's folder `kernels`.
    pub name: &'static str,
    /// The text of the file.
    pub text: &'static str,
}
