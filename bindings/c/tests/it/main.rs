//! The C library as hostile or careless callers use it: wrong arguments, wrong buffers, callbacks
//! that lie, change their mind and call back, many threads. `tests/corpus.c` runs the conformance
//! corpus, in C and under sanitizers.

#![expect(unsafe_code, reason = "calls of the C library")]

mod arguments;
mod callbacks;
#[cfg(feature = "cuda")]
mod cuda;
mod files;
mod support;
mod tensors;
