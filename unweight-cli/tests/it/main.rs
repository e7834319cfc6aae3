//! Runs the program as people and scripts do: files in, files, text and exit codes out.

mod bad_safetensors;
mod bad_unw;
mod compress;
mod copied;
mod early_checks;
mod extract;
mod folder;
mod gpu;
mod index;
mod inspect;
#[cfg(unix)]
mod interrupted;
mod io_failure;
mod memory;
mod model;
mod names;
mod output;
mod place;
mod restamp;
#[cfg(unix)]
mod resume;
mod round_trip;
mod transcode;
mod usage;
