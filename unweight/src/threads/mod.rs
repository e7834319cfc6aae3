//! Threads that work on the chunks of a tensor.

mod executor;

pub use executor::{Executor, Serial};
