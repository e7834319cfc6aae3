//! Runs the program as people and scripts do: files in, files, text and exit codes out.

mod bad_safetensors;
mod bad_unw;
mod compress;
mod extract;
mod folder;
mod gpu;
mod inspect;
#[cfg(unix)]
mod interrupted;
mod io_failure;
mod memory;
mod model;
mod output;
mod place;
mod restamp;
mod round_trip;
#[cfg(unix)]
mod signals;
mod transcode;
mod usage;
