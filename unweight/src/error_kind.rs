//! Kinds of errors.

use std::io;

use unweight_format::write::Misuse;
#[cfg(feature = "cuda")]
use unweight_gpu::GpuError;

use crate::Error;
use crate::diagnostics::FileErrorKind;

/// What an [`Error`] means for the caller. Exit codes, status codes of foreign interfaces and
/// classes of exceptions follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file that was read is bad: it breaks a rule of the specification, became shorter while it
    /// was read, or differs from the file that it is compared with.
    InvalidFile,
    /// The input to compress is not a safetensors file.
    InvalidSource,
    /// A container cannot hold the data, because it would break a rule or have 2^64 bytes.
    Unwritable,
    /// More memory is needed than is allowed, or than a device has. The file may be valid.
    OverBudget,
    /// Reading failed. This does not say that the file is invalid.
    ReadFailed,
    /// Writing failed, or the system refused to make or replace an output.
    WriteFailed,
    /// An input or output cannot be used as asked, for example because the output exists. Nothing
    /// was changed.
    Refused,
    /// There is no tensor of this name.
    NoTensor,
    /// A buffer has another length than the tensor, or a range exceeds the tensor.
    WrongLength,
    /// Another argument does not fit: a type, a slice, or the order of calls.
    WrongArgument,
    /// A device is missing or cannot be used.
    NoDevice,
    /// A device failed. The file may be valid.
    DeviceFailed,
    /// A function of the caller failed: a callback, or the [`Executor`](crate::Executor).
    Callback,
    /// A callback of the caller asked to stop.
    Cancelled,
}

impl Error {
    /// What the error means for the caller.
    ///
    /// ```
    /// use unweight::{ErrorKind, OpenOptions};
    ///
    /// let error = OpenOptions::new().open_bytes(*b"no container").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidFile);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Rule { .. } => ErrorKind::InvalidFile,
            Error::OverBudget(_) => ErrorKind::OverBudget,
            Error::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                ErrorKind::InvalidFile
            }
            Error::Read(_) => ErrorKind::ReadFailed,
            Error::Write(_) => ErrorKind::WriteFailed,
            Error::Source(_) | Error::SourceLength { .. } => ErrorKind::InvalidSource,
            Error::Unwritable { .. } | Error::Misuse(Misuse::ContainerTooLong) => {
                ErrorKind::Unwritable
            }
            Error::NoTensor(_) => ErrorKind::NoTensor,
            Error::WrongLength { .. } => ErrorKind::WrongLength,
            Error::WrongDtype { .. } | Error::WrongSlice { .. } | Error::Misuse(_) => {
                ErrorKind::WrongArgument
            }
            #[cfg(feature = "cuda")]
            Error::Device(error) => kind_of_device_error(error),
            #[cfg(feature = "cuda")]
            Error::Disagreement(_) => ErrorKind::DeviceFailed,
            Error::Executor(_) | Error::Callback(_) => ErrorKind::Callback,
            Error::Cancelled => ErrorKind::Cancelled,
            Error::File(error) => match error.kind() {
                FileErrorKind::Request => ErrorKind::Refused,
                FileErrorKind::Content => ErrorKind::InvalidFile,
                FileErrorKind::System => ErrorKind::WriteFailed,
            },
            Error::At { error, .. } => error.kind(),
        }
    }
}

#[cfg(feature = "cuda")]
fn kind_of_device_error(error: &GpuError) -> ErrorKind {
    match error {
        GpuError::Libraries(_)
        | GpuError::NoDriver
        | GpuError::NoDevice { .. }
        | GpuError::TooOld { .. }
        | GpuError::NoKernels
        | GpuError::Compile(_) => ErrorKind::NoDevice,
        GpuError::Capturing | GpuError::PerThreadStream | GpuError::OtherContext => {
            ErrorKind::WrongArgument
        }
        error if error.is_out_of_memory() => ErrorKind::OverBudget,
        _ => ErrorKind::DeviceFailed,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use unweight_format::Rule;

    use super::*;
    use crate::file::FileError;

    #[test]
    fn a_path_and_a_cut_file_do_not_hide_the_kind() {
        let path = || PathBuf::from("w.unw");
        let read = |kind: io::ErrorKind| Error::Read(kind.into());
        let exists = Error::from(FileError::Exists { path: path() });
        let differs = Error::from(FileError::Differs {
            path: path(),
            source: path(),
            offset: 1,
        });
        let held = Error::from(FileError::Held {
            path: path(),
            error: io::ErrorKind::ResourceBusy.into(),
        });
        let unwritable = Error::Unwritable {
            rule: Rule::LimitName,
            tensor: None,
            name: None,
        };
        let kinds = [
            (read(io::ErrorKind::UnexpectedEof), ErrorKind::InvalidFile),
            (read(io::ErrorKind::NotFound), ErrorKind::ReadFailed),
            (exists, ErrorKind::Refused),
            (differs, ErrorKind::InvalidFile),
            (held, ErrorKind::WriteFailed),
            (unwritable, ErrorKind::Unwritable),
            (Error::callback("no"), ErrorKind::Callback),
        ];
        for (error, kind) in kinds {
            assert_eq!(error.at("folder").kind(), kind);
        }
    }
}
