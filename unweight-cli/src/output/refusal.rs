//! System calls that some file systems refuse, and that a finished output can do without.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::warning::warn;

/// System call that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `fchmod`
    SetMode,
    /// `futimens`
    SetTimes,
    /// `fsync` of a file or folder
    Flush,
}

impl Call {
    fn consequence(self) -> &'static str {
        match self {
            Call::SetMode => "its permissions could not be set here and stay as they were created",
            Call::SetTimes => "its modification time could not be set here",
            Call::Flush => {
                "it could not be flushed to the disk here; a power failure soon after may lose it"
            }
        }
    }

    /// Whether a warning about this call was printed before.
    fn was_said(self) -> bool {
        static SAID: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
        SAID[self as usize].swap(true, Ordering::Relaxed)
    }
}

/// Turns a refusal into a warning, once for each kind of call. Errors that mean lost data remain
/// errors.
pub(crate) fn tolerate(done: io::Result<()>, call: Call, name: &Path) -> io::Result<()> {
    match done {
        Err(error) if is_refusal(call, &error) => {
            if !call.was_said() {
                warn(format_args!(
                    "{}: {}: {error}",
                    name.display(),
                    call.consequence()
                ));
            }
            Ok(())
        }
        done => done,
    }
}

/// Whether an error means that the file system does not offer the call.
fn is_refusal(call: Call, error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match error.kind() {
        InvalidInput | PermissionDenied | Unsupported => true,
        // For `fsync`, this error means that the file system became read-only after an error and
        // that data is lost.
        ReadOnlyFilesystem => matches!(call, Call::SetMode | Call::SetTimes),
        _ => is_not_supported(error),
    }
}

/// Whether an error says that the kernel or the file system does not know a call or its flags.
#[cfg(unix)]
pub(super) fn is_not_supported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // File systems without hard links and some sandboxes answer with EPERM.
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::NOTTY)
    )
}

#[cfg(not(unix))]
pub(super) fn is_not_supported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn refusals_are_tolerated_and_lost_data_is_not() {
        const CALLS: [Call; 3] = [Call::SetMode, Call::SetTimes, Call::Flush];
        let tolerated = |errno: Errno, call| tolerate(Err(errno.into()), call, Path::new("out"));
        for call in CALLS {
            for errno in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM] {
                assert!(tolerated(errno, call).is_ok(), "{call:?}: {errno:?}");
            }
            for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
                assert!(tolerated(errno, call).is_err(), "{call:?}: {errno:?}");
            }
        }
        assert!(tolerated(Errno::ROFS, Call::SetMode).is_ok());
        assert!(tolerated(Errno::ROFS, Call::Flush).is_err());
    }
}
