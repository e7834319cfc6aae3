//! The Unweight codec on a GPU: CUDA kernels (`kernels/`) and their launches.
//!
//! - [`Device::open`] finds a GPU and loads the kernels. A missing driver or device is an ordinary
//!   error.
//! - [`decode_verified`] decodes a coded tensor with every check, and returns its weights in device
//!   memory.
//! - [`DeviceTensor::upload`] copies a coded tensor to device memory, in the layout of the file.
//! - [`Batch`] decodes tensors, or ranges of their chunks, in one launch. It runs on the caller's
//!   stream and writes weights or exponent planes to the caller's memory. It copies raw tensors,
//!   checks chunk checksums on the device, and computes the checksums of decoded weights.
//! - [`EncodeBatch`] encodes weights in device memory to planes with the same bytes as the
//!   reference.
//! - [`TranscodeBatch`] converts coded tensors to the other encoding without storing their weights.
//! - [`matmul`] multiplies by matrices that stay compressed.
//!
//! The host checks everything that locates data (header, directory, record ends). The device checks
//! every record, and bounds each read and write by the checked values. It reports the first bad
//! chunk with the rule that the reference reports. Section numbers refer to `spec/unweight.md`.
//!
//! # Memory
//!
//! Launches are asynchronous. A batch owns the memory that its launches write and shares the memory
//! that they read. It returns its outputs when the launches are done. Dropping a batch waits.
//! Forgetting one, or losing it in a cycle of references, leaks its memory and frees nothing that a
//! launch uses. A stream that is capturing a graph is an error. (A capture that another thread both
//! begins and ends on the stream during a launch function is not detected.) A batch waits, with
//! cudarc's events, for pending writes to memory that is handed over. A caller that disables these
//! events, which is unsafe, must wait itself.
//!
//! Foreign memory, for example a PyTorch tensor, is given as an address, which is unsafe
//! ([`Output::raw`], [`Source::raw`]). Matmuls are unsafe too ([`matmul::Linear::multiply`],
//! [`matmul::Sequence`]): they neither own activations nor wait, and may be captured.
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
mod checksum;
mod crc_constants;
mod decode;
mod decode_verified;
mod device;
mod device_tensor;
mod encode;
mod encode_job;
mod encode_plan;
mod encode_records;
mod encoded;
mod error;
mod in_flight;
mod input;
mod job;
pub mod kernels;
mod libraries;
pub mod matmul;
mod output;
mod plan;
mod record_ends;
mod source;
mod status;
mod transcode;
mod view;
mod weight_checksums;

/// The version of cudarc whose streams and device memory this crate uses.
pub use cudarc;

pub use batch::Batch;
pub use decode::{CheckedTensor, DecodedTensor};
pub use decode_verified::decode_verified;
pub use device::{ComputeCapability, Device, DeviceOptions};
pub use device_tensor::DeviceTensor;
pub use encode::EncodeBatch;
pub use encode_plan::longest_payload_bytes;
pub use encoded::EncodedTensor;
pub use error::GpuError;
pub use input::Input;
pub use libraries::search_system_folders_only;
pub use output::Output;
pub use source::Source;
pub use status::BadChunk;
pub use transcode::TranscodeBatch;
pub use view::{View, ViewMut};

/// The most chunks of one launch. Each has a block, and its index fits the status word.
pub const MOST_CHUNKS: u32 = i32::MAX as u32;

/// Whether the decoding kernels were compiled when the crate was built. If not, NVRTC compiles them
/// at first use.
pub const fn kernels_are_built_in() -> bool {
    kernels::own::DECODE.is_built_in() && kernels::own::CHECKSUM.is_built_in()
}

/// Loads the kernels that every program needs, so that their errors come when a device is opened.
fn preload(device: &Device) -> Result<(), GpuError> {
    device.kernels::<decode::DecodeKernels>()?;
    device.kernels::<checksum::ChecksumKernels>()?;
    Ok(())
}

/// Parts that launches on the CPU need, for tests that run the kernels without a GPU
/// (`host-kernels/`). This module is not part of the interface.
#[doc(hidden)]
pub mod host {
    pub use crate::crc_constants::words as crc_constants;
    pub use crate::encode_job::{EncodeJob, TOTAL_BYTES};
    pub use crate::encode_plan::count_threads;
    pub use crate::job::{Addresses, TensorJob, longest_record_bytes};
    pub use crate::plan::stage_bytes;
    pub use crate::status::{GOOD, read};
}
