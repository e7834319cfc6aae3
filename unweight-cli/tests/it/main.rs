//! Runs the program as people and scripts do: files in, files, text and exit codes out.

mod bad_safetensors;
mod bad_unw;
#[cfg(target_os = "linux")]
mod changing_file;
mod compress;
#[cfg(target_os = "linux")]
mod durability;
mod extract;
mod folder;
mod gpu;
mod inspect;
#[cfg(unix)]
mod interrupted;
mod io_failure;
mod memory;
mod model;
#[cfg(unix)]
mod modes;
mod output;
mod place;
#[cfg(unix)]
mod races;
#[cfg(target_os = "linux")]
mod refused_calls;
mod restamp;
mod round_trip;
mod same_file;
#[cfg(unix)]
mod signals;
mod times;
mod transcode;
mod usage;
