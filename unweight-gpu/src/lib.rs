//! The Unweight codec on a GPU: CUDA kernels (`kernels/`), and what launches them.
//!
//! - [`Device::open`] finds a GPU and loads the kernels; without a driver or a device it is an ordinary error.
//! - [`Resident::upload`] puts a coded tensor into device memory, as it stands in the file.
//! - [`Batch`] decodes tensors in one launch, or ranges of their chunks, on the caller's stream and into the caller's memory, to weights or to
//!   exponent planes; it copies raw tensors, checks chunk checksums on the device too, and computes those of what was decoded.
//! - [`EncodeBatch`] encodes weights that stand in device memory to the planes that the reference gives, byte for byte.
//! - [`TranscodeBatch`] gives coded tensors the other encoding, without their weights ever standing in memory.
//! - [`matmul`] multiplies by matrices that stay compressed.
//!
//! The host checks what locates anything (header, directory, record ends); the device checks every record, bounds each read and
//! write by what was checked, and reports the first bad chunk with the rule that the reference names. Section numbers are those of `spec/unweight.md`.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use unweight_format::{Directory, FileHeader, Payload};
//! use unweight_gpu::{Batch, Device, Output, Resident};
//!
//! let file = std::fs::read("model.unw")?;
//! let header = FileHeader::parse(&file)?;
//! let directory = Directory::parse(&header, header.directory().of(&file).ok_or("short")?)?;
//! let tensor = directory.find("w").ok_or("no such tensor")?;
//! let Payload::Coded(planes) = tensor.payload() else { return Err("raw".into()) };
//!
//! let device = Device::open(0)?;
//! let stream = device.stream()?;
//! let payload = Resident::extent(planes).of(&file).ok_or("short")?;
//! let resident = Resident::upload(&stream, planes, payload)?;
//! let mut weights = stream.alloc_zeros::<u8>(tensor.data_bytes() as usize)?;
//! let output = Output::slice(&mut weights, &stream);
//! let mut batch = Batch::to_weights(&device, &stream, vec![(&resident, output)])?;
//! batch.check_chunks(&stream)?;
//! batch.decode(&stream)?;
//! batch.verdict(&stream)?;
//! tensor.require_checksum(batch.checksums(&stream)?[0])?;
//! # Ok(())
//! # }
//! ```

mod batch;
mod crc_constants;
mod device;
mod encode;
mod encode_job;
mod encode_plan;
mod encode_records;
mod encoded;
mod error;
mod image;
mod input;
mod job;
mod launch;
pub mod matmul;
mod nvrtc;
mod output;
mod plan;
mod resident;
mod running;
mod source;
mod status;
mod transcode;
mod weight_checksums;

/// Streams and device memory are this crate's.
pub use cudarc;

pub use batch::Batch;
pub use device::Device;
pub use encode::EncodeBatch;
pub use encode_plan::longest_payload_bytes;
pub use encoded::EncodedTensor;
pub use error::GpuError;
pub use input::Input;
pub use output::Output;
pub use resident::Resident;
pub use source::Source;
pub use status::BadChunk;
pub use transcode::TranscodeBatch;

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
