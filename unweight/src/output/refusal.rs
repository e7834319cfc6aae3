//! System calls that some file systems refuse, and that a finished output can do without.

use std::io;
use std::path::Path;

use crate::diagnostics::{RefusedCall, Warning};

/// Turns a refusal into a warning. Errors that mean lost data remain errors.
pub(crate) fn tolerate(
    done: io::Result<()>,
    call: RefusedCall,
    name: &Path,
    warn: &dyn Fn(Warning),
) -> io::Result<()> {
    match done {
        Err(error) if is_refusal(call, &error) => {
            warn(Warning::Refused {
                path: name.to_owned(),
                call,
                error,
            });
            Ok(())
        }
        done => done,
    }
}

/// Whether an error means that the file system does not offer the call.
fn is_refusal(call: RefusedCall, error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match error.kind() {
        InvalidInput | PermissionDenied | Unsupported => true,
        // For `fsync`, this error means that the file system became read-only after an error and
        // that data is lost.
        ReadOnlyFilesystem => matches!(call, RefusedCall::SetMode | RefusedCall::SetTimes),
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
        use RefusedCall::{Flush, SetMode, SetTimes};
        const CALLS: [RefusedCall; 3] = [SetMode, SetTimes, Flush];
        let tolerated = |errno: Errno, call| {
            let warnings = std::cell::Cell::new(0);
            let warn = |_| warnings.set(warnings.get() + 1);
            let done = tolerate(Err(errno.into()), call, Path::new("out"), &warn);
            assert_eq!(warnings.get(), u32::from(done.is_ok()));
            done
        };
        for call in CALLS {
            for errno in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM] {
                assert!(tolerated(errno, call).is_ok(), "{call:?}: {errno:?}");
            }
            for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
                assert!(tolerated(errno, call).is_err(), "{call:?}: {errno:?}");
            }
        }
        assert!(tolerated(Errno::ROFS, SetMode).is_ok());
        assert!(tolerated(Errno::ROFS, Flush).is_err());
    }
}
