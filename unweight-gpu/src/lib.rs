//! The Unweight codec on a GPU: CUDA kernels (`kernels/`) and their launches.
//!
//! - [`Device::open`] finds a GPU and loads the kernels. A missing driver or device is an ordinary
//!   error.
//! - [`decode_verified`] decodes a tensor with every check, and returns its weights in device memory.
//! - [`DeviceTensor::upload`] copies a tensor to device memory, in the layout of the file.
//! - [`Batch`] decodes tensors of any types and forms, or ranges of their chunks, in a few launches.
//!   It runs on the caller's stream and writes weights, or exponents of BF16, to the caller's
//!   memory. It checks chunk and block checksums on the device, and computes the checksums of
//!   decoded weights.
//! - [`load`] brings many tensors of a file to the caller's memory, through pinned host memory and a
//!   bounded scratch memory. Reading, copying and decoding overlap.
//! - [`EncodeBatch`] encodes weights in device memory to planes with the same bytes as the
//!   reference.
//! - [`TranscodeBatch`] converts coded tensors to the other encoding without storing their weights.
//! - [`kernels`] is for crates that add kernels of their own.
//!
//! The crate `unweight-matmul` multiplies by matrices that stay compressed.
//!
//! The host checks everything that locates data (header, directory, record ends) and all palettes.
//! The device checks every record, and bounds each read and write by the checked values. It reports
//! the first bad chunk with the rule that the reference reports. Section numbers refer to
//! `spec/unweight.md`.
//!
//! Launches are asynchronous, and return a guard ([`Launched`]). What was launched must not be
//! trusted before the guard's `finish` has succeeded.
//!
//! # Memory
//!
//! A batch owns the memory that its launches write and shares the memory
//! that they read. It returns its outputs when the launches are done. Dropping a batch waits.
//! Forgetting one, or losing it in a cycle of references, leaks its memory and frees nothing that a
//! launch uses. A stream that is capturing a graph is an error. (A capture that another thread both
//! begins and ends on the stream during a launch function is not detected.) A batch waits, with
//! cudarc's events, for pending writes to memory that is handed over. A caller that disables these
//! events, which is unsafe, must wait itself.
//!
//! Foreign memory, for example a PyTorch tensor, is given as an address, which is unsafe
//! ([`Output::at_address`], [`Source::at_address`]).
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use unweight_format::{Directory, FileHeader};
//! use unweight_gpu::{Device, decode_verified};
//!
//! let file = std::fs::read("model.unw")?;
//! let header = FileHeader::parse(&file)?;
//! let directory = Directory::parse(&header, header.directory().of(&file).ok_or("short")?)?;
//! let tensor = directory.find("w").ok_or("no such tensor")?;
//!
//! let device = Device::open(0)?;
//! let stream = device.stream()?;
//! let payload = tensor.payload().extent().of(&file).ok_or("short")?;
//! let weights = decode_verified(&device, &stream, &tensor, payload)?;
//! # Ok(())
//! # }
//! ```

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod checksum;
mod decode;
mod device;
mod encode;
mod error;
pub mod kernels;
mod launched;
pub mod load;
mod memory;
mod transcode;

/// The version of cudarc whose streams and device memory this crate uses.
pub use cudarc;

pub use decode::{
    BadChunk, Batch, CheckedTensor, DecodeTask, DecodedTensor, DeviceTensor, Input, decode_verified,
};
pub use device::{
    ComputeCapability, Device, DeviceOptions, KeptContext, search_system_folders_only,
};
pub use encode::{EncodeBatch, EncodeTask, EncodedTensor, longest_payload_bytes};
pub use error::GpuError;
pub use launched::Launched;
pub use memory::{Output, Source};
pub use transcode::{TranscodeBatch, TranscodeTask};

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
    pub use crate::checksum::constants::words as crc_constants;
    pub use crate::decode::job::{
        Addresses, PLAIN_SLACK_BYTES, TensorJob, longest_records_bytes, readable_plain_bytes,
    };
    pub use crate::decode::plan::{FIELD_BYTES, TABLE_BYTES, stage_bytes};
    pub use crate::decode::status::{GOOD, read};
    pub use crate::encode::job::{EncodeJob, TOTAL_BYTES};
    pub use crate::encode::plan::{
        Division, JobGroup, Jobs, PlannedTensor, Sources, count_threads, place_jobs,
    };
    pub use crate::encode::sample::{
        ChosenForms, Differing, FieldChoices, SAMPLE_COUNT_BYTES, SampleJob, SampledForms,
        SampledTensor,
    };
    pub use crate::encode::split::SplitJob;
    pub use crate::load::host::{Destination, Group, GroupAddresses, GroupRun, LaunchRange};
    pub use crate::load::host::{copies, groups};
}
