//! Why something did not happen on the device.

use std::fmt;

use cudarc::cublaslt::result::CublasError;
use cudarc::driver::DriverError;
use unweight_format::{Error, limits};

use crate::status::BadChunk;

/// Why a device, or what was asked of it, is not to be had.
#[derive(Debug)]
pub enum GpuError {
    /// Windows did not restrict where libraries are looked for.
    Libraries(std::io::Error),
    /// There is no CUDA driver.
    NoDriver,
    /// The driver knows no device of this number.
    NoDevice {
        /// The number asked for.
        ordinal: usize,
        /// How many devices there are.
        count: usize,
    },
    /// The device is too old.
    TooOld {
        /// Its name.
        name: String,
        /// Its compute capability.
        capability: (i32, i32),
    },
    /// The crate was built without `nvcc`, and there is no NVRTC to compile the kernels with.
    NoKernels,
    /// NVRTC could not compile the kernels.
    Compile(String),
    /// The driver failed.
    Driver(DriverError),
    /// The stream is capturing a graph, which would outlive what the launch uses.
    Capturing,
    /// The stream is that of the calling thread (`CudaContext::per_thread_stream`), which other threads cannot wait for.
    PerThreadStream,
    /// A stream or memory of another CUDA context than the device's.
    OtherContext,
    /// Nothing was encoded yet, or it failed.
    NotEncoded,
    /// A batch of more chunks than one launch can have.
    TooManyChunks(u64),
    /// A tensor of so many weights is stored raw, never coded.
    NotCoded(u64),
    /// What a caller gave has another length than the tensor needs.
    WrongLength {
        /// Bytes that the tensor needs.
        needed_bytes: u64,
        /// Bytes that were given.
        given_bytes: u64,
    },
    /// A matrix that has no fragment form.
    NoFragmentForm {
        /// Its rows.
        rows: u64,
        /// Its columns.
        columns: u64,
    },
    /// A matrix whose palette lacks the exponents of so many weights that fragment form does not suit it.
    TooManyPatches {
        /// Weights whose exponents the palette lacks.
        patches: u64,
        /// All of them.
        weights: u64,
    },
    /// A workspace that was made for smaller matrices, or for no whole decode.
    WorkspaceTooSmall,
    /// A pipeline that a matrix of this form, or the device, does not have: its name.
    NotTaken(&'static str),
    /// There is no cuBLASLt, or it has no algorithm for a product.
    NoCublas,
    /// cuBLASLt failed.
    Cublas(CublasError),
    /// A rule that the host checked.
    Rule(Error),
    /// A rule that a chunk breaks, found by the device.
    BadChunk {
        /// The number of the tensor in its batch.
        tensor: usize,
        /// The chunk, numbered in its tensor, and the rule.
        bad: BadChunk,
    },
}

impl From<DriverError> for GpuError {
    fn from(error: DriverError) -> GpuError {
        GpuError::Driver(error)
    }
}

impl From<CublasError> for GpuError {
    fn from(error: CublasError) -> GpuError {
        GpuError::Cublas(error)
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
            GpuError::TooOld {
                name,
                capability: (major, minor),
            } => write!(
                f,
                "{name} has compute capability {major}.{minor}, expected at least 8.0"
            ),
            GpuError::NoKernels => f.write_str(
                "this program was built without nvcc, and NVRTC (libnvrtc), which would compile its kernels now, is not on this machine",
            ),
            GpuError::Compile(message) => write!(f, "NVRTC could not compile the kernels: {message}"),
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
            GpuError::NotCoded(weights) => write!(
                f,
                "a tensor of {weights} weights cannot be coded, expected 1 to {}",
                limits::CODED_WEIGHTS
            ),
            GpuError::WrongLength {
                needed_bytes,
                given_bytes,
            } => write!(f, "{given_bytes} bytes were given, expected {needed_bytes}"),
            GpuError::NoFragmentForm { rows, columns } => write!(
                f,
                "a matrix of {rows} x {columns} has no fragment form, expected at least a row, and columns in multiples of 64 up to 1,048,512"
            ),
            GpuError::TooManyPatches { patches, weights } => write!(
                f,
                "the palette lacks the exponents of {patches} of {weights} weights, expected at most one in 16: decode the matrix whole"
            ),
            GpuError::WorkspaceTooSmall => f.write_str(
                "the workspace was made for smaller matrices, or for no whole decode: give Workspace::new every shape that it is for",
            ),
            GpuError::NotTaken(pipeline) => write!(
                f,
                "a matrix in this form has no pipeline {pipeline}, or this device has not"
            ),
            GpuError::NoCublas => f.write_str(
                "there is no cuBLASLt (libcublasLt) on this machine, or it has no algorithm for this product",
            ),
            GpuError::Cublas(error) => write!(f, "cuBLASLt failed: {error:?}"),
            GpuError::Rule(error) => error.fmt(f),
            GpuError::BadChunk { tensor, bad } => write!(
                f,
                "{} in chunk {} of tensor {tensor} of the batch",
                bad.rule.id(),
                bad.chunk
            ),
        }
    }
}

impl std::error::Error for GpuError {}
