//! The error type of all device operations.

use std::fmt;

use cudarc::driver::{DriverError, sys};
use unweight_format::Error;

use crate::{BadChunk, ComputeCapability};

/// The error of a device operation.
#[derive(Debug)]
#[non_exhaustive]
pub enum GpuError {
    /// Windows did not restrict the search path of libraries.
    Libraries(std::io::Error),
    /// There is no CUDA driver.
    NoDriver,
    /// The driver has no device with this number.
    NoDevice {
        /// The requested number.
        ordinal: usize,
        /// The number of devices.
        count: usize,
    },
    /// The device is too old.
    TooOld {
        /// The name of the device.
        name: String,
        /// The compute capability of the device.
        capability: ComputeCapability,
    },
    /// The crate was built without `nvcc`, and NVRTC is not installed to compile the kernels.
    NoKernels,
    /// NVRTC could not compile the kernels.
    Compile(String),
    /// The driver failed.
    Driver(DriverError),
    /// The stream is capturing a graph, which would outlive the memory of the launch.
    Capturing,
    /// The stream is the calling thread's (`CudaContext::per_thread_stream`), which other threads
    /// cannot wait for.
    PerThreadStream,
    /// A stream or memory belongs to a different CUDA context than the device.
    OtherContext,
    /// Nothing has been encoded yet, or the encoding failed.
    NotEncoded,
    /// A batch has more chunks than one launch allows.
    TooManyChunks(u64),
    /// A buffer has a different length than the tensor needs.
    WrongLength {
        /// The needed number of bytes.
        needed_bytes: u64,
        /// The given number of bytes.
        given_bytes: u64,
    },
    /// A broken rule, found by the host.
    Rule(Error),
    /// A broken rule in a chunk, found by the device.
    BadChunk(BadChunk),
}

impl GpuError {
    /// Whether the device has too little free memory.
    pub fn is_out_of_memory(&self) -> bool {
        let out_of_memory = sys::cudaError_enum::CUDA_ERROR_OUT_OF_MEMORY;
        matches!(self, GpuError::Driver(error) if error.0 == out_of_memory)
    }
}

impl From<DriverError> for GpuError {
    fn from(error: DriverError) -> GpuError {
        GpuError::Driver(error)
    }
}

impl From<Error> for GpuError {
    fn from(error: Error) -> GpuError {
        GpuError::Rule(error)
    }
}

impl fmt::Display for GpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuError::Libraries(error) => {
                write!(f, "libraries cannot be restricted to folders of the system: {error}")
            }
            GpuError::NoDriver => f.write_str("there is no CUDA driver (libcuda) on this machine"),
            GpuError::NoDevice { ordinal, count } => {
                write!(f, "there is no CUDA device {ordinal}, the driver knows {count}")
            }
            GpuError::TooOld { name, capability } => {
                let oldest = ComputeCapability::OLDEST;
                write!(f, "{name} has compute capability {capability}, expected at least {oldest}")
            }
            GpuError::NoKernels => f.write_str(
                "this program was built without nvcc, and NVRTC (libnvrtc), which would compile its kernels now, is not on this machine",
            ),
            GpuError::Compile(message) => write!(f, "NVRTC could not compile the kernels: {message}"),
            error if error.is_out_of_memory() => {
                f.write_str("the CUDA device has too little free memory")
            }
            GpuError::Driver(error) => write!(f, "the CUDA driver failed: {error}"),
            GpuError::Capturing => f.write_str(
                "the stream is capturing a graph, expected one that runs its launches: end the capture, or use unsafe functions that allow it",
            ),
            GpuError::PerThreadStream => f.write_str(
                "the stream is the calling thread's own, expected one that any thread can wait for: use Device::stream",
            ),
            GpuError::OtherContext => f.write_str(
                "a stream or memory is of another CUDA context than the device: make it with Device::stream or Device::context",
            ),
            GpuError::NotEncoded => {
                f.write_str("nothing was encoded: call encode or transcode first")
            }
            GpuError::TooManyChunks(count) => {
                write!(f, "a batch of {count} chunks, expected at most {}", crate::MOST_CHUNKS)
            }
            GpuError::WrongLength {
                needed_bytes,
                given_bytes,
            } => write!(f, "{given_bytes} bytes were given, expected {needed_bytes}"),
            GpuError::Rule(error) => error.fmt(f),
            GpuError::BadChunk(BadChunk { tensor, chunk, field, rule }) => match field {
                Some(field) => write!(
                    f,
                    "{} in field {field} of chunk {chunk} of tensor {tensor} of the batch",
                    rule.id()
                ),
                None => write!(f, "{} in block {chunk} of tensor {tensor} of the batch", rule.id()),
            },
        }
    }
}

impl std::error::Error for GpuError {}
