//! Tests that run the program as users and scripts do: files go in; files, text and exit codes come
//! out.

mod bad_safetensors;
mod bad_unw;
mod bench;
#[cfg(target_os = "linux")]
mod changing_file;
mod compress;
mod copied;
mod damaged_containers;
mod default_names;
#[cfg(target_os = "linux")]
mod durability;
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
#[cfg(unix)]
mod modes;
mod names;
mod output;
mod place;
#[cfg(unix)]
mod races;
mod recognized;
#[cfg(target_os = "linux")]
mod refused_calls;
mod report;
mod restamp;
#[cfg(unix)]
mod resume;
mod round_trip;
mod same_file;
mod sample_weights;
#[cfg(unix)]
mod signals;
mod standard_streams;
#[cfg(unix)]
mod terminal;
#[cfg(target_os = "linux")]
mod threads;
mod times;
mod transcode;
mod usage;
