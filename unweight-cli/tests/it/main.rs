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
mod names;
mod output;
mod place;
mod recognized;
mod restamp;
mod round_trip;
mod standard_streams;
#[cfg(unix)]
mod terminal;
#[cfg(target_os = "linux")]
mod threads;
mod transcode;
mod usage;
