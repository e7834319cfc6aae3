//! The Unweight codec on a GPU: CUDA kernels (`kernels/`), and what launches them.
//!
//! - [`Device::open`] finds a GPU and loads the kernels; without a driver or a device it is an ordinary error.
//! - [`decode_verified`] decodes a coded tensor with every check, and returns its weights in device
//!   memory.
//! - [`DeviceTensor::upload`] puts a coded tensor into device memory, as it stands in the file.
//! - [`Batch`] decodes tensors in one launch, or ranges of their chunks, on the caller's stream and into the caller's memory, to weights or to
//!   exponent planes; it copies raw tensors, checks chunk checksums on the device too, and computes those of what was decoded.
//! - [`EncodeBatch`] encodes weights that stand in device memory to the planes that the reference gives, byte for byte.
//! - [`TranscodeBatch`] gives coded tensors the other encoding, without their weights ever standing in memory.
//! - [`matmul`] multiplies by matrices that stay compressed.
//!
//! The host checks what locates anything (header, directory, record ends); the device checks every record, bounds each read and
//! write by what was checked, and reports the first bad chunk with the rule that the reference names. Section numbers are those of `spec/unweight.md`.
//!
//! # Memory
//!
//! Launches are asynchronous. A batch owns the memory that its launches write and shares what they read; it gives its outputs back when they are done.
//! Dropping a batch waits; forgetting one, or losing it in a cycle of references, loses its memory and frees nothing that a launch uses. A stream that is
//! capturing a graph is an error. (A capture that another thread both begins and ends on the stream while a function launches there is not noticed.)
//! What was still written when memory was handed over is waited for, by cudarc's events; who disables these, which is unsafe, waits too.
//!
//! Memory of somebody else's, a tensor of PyTorch's for instance, is given as an address, which is unsafe ([`Output::raw`], [`Source::raw`]). So are products
//! ([`matmul::Linear::multiply`], [`matmul::Sequence`]): they neither own activations nor wait, and may be captured.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use unweight_format::{Directory, FileHeader, Payload};
//! use unweight_gpu::{Device, DeviceTensor, decode_verified};
//!
//! let file = std::fs::read("model.unw")?;
//! let header = FileHeader::parse(&file)?;
//! let directory = Directory::parse(&header, header.directory().of(&file).ok_or("short")?)?;
//! let tensor = directory.find("w").ok_or("no such tensor")?;
//! let Payload::Coded(planes) = tensor.payload() else { return Err("raw".into()) };
//!
//! let device = Device::open(0)?;
//! let stream = device.stream()?;
//! let payload = DeviceTensor::extent(planes).of(&file).ok_or("short")?;
//! let weights = decode_verified(&device, &stream, &tensor, payload)?;
//! # Ok(())
//! # }
//! ```

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod batch;
mod crc_constants;
mod decode_verified;
mod device;
mod device_tensor;
mod encode;
mod encode_job;
mod encode_plan;
mod encode_records;
mod encoded;
mod error;
mod image;
mod in_flight;
mod input;
mod job;
mod kernel_cache;
mod launch;
mod libraries;
pub mod matmul;
mod nvrtc;
mod output;
mod plan;
mod record_ends;
mod source;
mod status;
mod transcode;
mod view;
mod weight_checksums;

/// Streams and device memory are this crate's.
pub use cudarc;

pub use batch::Batch;
pub use decode_verified::decode_verified;
pub use device::{Device, DeviceOptions};
pub use device_tensor::DeviceTensor;
pub use encode::EncodeBatch;
pub use encode_plan::longest_payload_bytes;
pub use encoded::EncodedTensor;
pub use error::GpuError;
pub use image::kernels_are_built_in;
pub use input::Input;
pub use libraries::search_system_folders_only;
pub use output::Output;
pub use source::Source;
pub use status::BadChunk;
pub use transcode::TranscodeBatch;
pub use view::{View, ViewMut};

/// Chunks of one launch: a block for each, and a number that fits the status word.
pub const MOST_CHUNKS: u32 = i32::MAX as u32;

/// What launches on the CPU need, where tests run the kernels without a GPU (`host-kernels/`). Not part of the interface.
#[doc(hidden)]
pub mod host {
    pub use crate::crc_constants::words as crc_constants;
    pub use crate::encode_job::{EncodeJob, TOTAL_BYTES};
    pub use crate::encode_plan::count_threads;
    pub use crate::job::{Addresses, TensorJob, longest_record_bytes};
    pub use crate::plan::stage_bytes;
    pub use crate::status::{GOOD, read};
}
