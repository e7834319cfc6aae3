//! Status codes and error reports. The only place where a panic is caught.

use std::any::Any;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

use unweight::format::Rule;
use unweight::{Error, ErrorKind};

/// What became of a call. Later versions may add values.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Success.
    Ok = 0,
    /// An argument is NULL where that is not allowed, or has a value that is not allowed.
    InvalidArgument = 1,
    /// There is no tensor of this name or number.
    NoTensor = 2,
    /// A buffer has another length than the tensor, or a range leaves the tensor.
    WrongLength = 3,
    /// The file breaks a rule of the format, became shorter meanwhile, or does not restore its
    /// source.
    InvalidFile = 4,
    /// The file to compress is not a valid safetensors file, or exceeds a limit of the format.
    InvalidSource = 5,
    /// More memory is needed than the budget allows, or than a device has. The file may be valid.
    OverBudget = 6,
    /// Reading failed. The file may be valid, and the call may be repeated.
    ReadFailed = 7,
    /// Writing failed.
    WriteFailed = 8,
    /// The output or input path cannot be used, for example because the output exists already.
    /// Nothing was changed.
    Refused = 9,
    /// A progress callback asked to stop.
    Cancelled = 10,
    /// An error of this library. Please report it.
    Internal = 11,
    /// There is no CUDA driver or device, or it is too old for the kernels. Only of functions for
    /// devices.
    NoDevice = 12,
    /// A CUDA device failed. The file may be valid.
    DeviceFailed = 13,
}

/// Bytes of `unweight_error.rule`.
pub const UNWEIGHT_RULE_BYTES: usize = 32;
/// Bytes of `unweight_error.category`.
pub const UNWEIGHT_CATEGORY_BYTES: usize = 16;
/// Bytes of `unweight_error.message`.
pub const UNWEIGHT_MESSAGE_BYTES: usize = 448;
/// `unweight_error.offset` if the error has none.
pub const UNWEIGHT_NO_OFFSET: u64 = u64::MAX;

/// Report on the last call that this was passed to. It has 512 bytes in every version, needs no
/// initialisation, and owns nothing. All strings end with a zero byte, and are empty if there is
/// nothing to say.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ErrorReport {
    /// The value that the function returned.
    pub status: Status,
    /// 0.
    pub reserved: u32,
    /// Offset in the file, in bytes, of the broken rule or the failed read. `UNWEIGHT_NO_OFFSET`
    /// if there is none.
    pub offset: u64,
    /// Id of the broken rule (section 10 of the specification), such as "record-crc".
    pub rule: [c_char; UNWEIGHT_RULE_BYTES],
    /// Category of the broken rule: "truncated", "malformed", "unsupported" or "limit".
    pub category: [c_char; UNWEIGHT_CATEGORY_BYTES],
    /// One line for people, in UTF-8: what was found, what was expected, where. A long message
    /// loses its middle.
    pub message: [c_char; UNWEIGHT_MESSAGE_BYTES],
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Argument(String),
    NoTensor(String),
    Library(Error),
    Internal(String),
}

impl Failure {
    pub(crate) fn argument(message: impl Into<String>) -> Failure {
        Failure::Argument(message.into())
    }

    /// A required pointer is NULL.
    pub(crate) fn null(what: &str) -> Failure {
        Failure::Argument(format!("{what} is NULL"))
    }

    fn of_panic(payload: Box<dyn Any + Send>) -> Failure {
        let text = match payload.downcast_ref::<&str>() {
            Some(text) => Some(*text),
            None => payload.downcast_ref::<String>().map(String::as_str),
        };
        Failure::Internal(format!("internal error: {}", text.unwrap_or("a panic")))
    }

    fn report(&self) -> ErrorReport {
        match self {
            Failure::Argument(message) => ErrorReport::new(Status::InvalidArgument, message),
            Failure::NoTensor(message) => ErrorReport::new(Status::NoTensor, message),
            Failure::Internal(message) => ErrorReport::new(Status::Internal, message),
            Failure::Library(error) => {
                let rule = error.rule();
                let mut report = ErrorReport::new(status_of(error), &error.to_string());
                report.offset = error.offset().unwrap_or(UNWEIGHT_NO_OFFSET);
                report.rule = c_string(rule.map_or("", Rule::id));
                report.category = c_string(rule.map_or("", |rule| rule.category().name()));
                report
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

/// Runs a function of the library. Converts its failure or panic, and writes the report to
/// `error` unless that is NULL.
///
/// # Safety
/// `error` must be NULL or valid for writing.
pub(crate) unsafe fn call(
    error: *mut ErrorReport,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Status {
    // After a panic nothing is used that `work` may have left half changed: the library's own state
    // is guarded, and outputs of a failed call are unspecified.
    let work = AssertUnwindSafe(|| match work() {
        Ok(()) => ErrorReport::new(Status::Ok, ""),
        Err(failure) => failure.report(),
    });
    let report = catch_unwind(work).unwrap_or_else(|panic| Failure::of_panic(panic).report());
    if !error.is_null() {
        // SAFETY: the caller promises that `error` is valid for writing.
        unsafe { error.write(report) };
    }
    report.status
}

impl ErrorReport {
    fn new(status: Status, message: &str) -> ErrorReport {
        ErrorReport {
            status,
            reserved: 0,
            offset: UNWEIGHT_NO_OFFSET,
            rule: c_string(""),
            category: c_string(""),
            message: c_string(message),
        }
    }
}

fn status_of(error: &Error) -> Status {
    match error.kind() {
        ErrorKind::InvalidFile => Status::InvalidFile,
        ErrorKind::InvalidSource | ErrorKind::Unwritable => Status::InvalidSource,
        ErrorKind::OverBudget => Status::OverBudget,
        ErrorKind::ReadFailed => Status::ReadFailed,
        ErrorKind::WriteFailed => Status::WriteFailed,
        ErrorKind::Refused => Status::Refused,
        ErrorKind::NoTensor => Status::NoTensor,
        ErrorKind::WrongLength => Status::WrongLength,
        ErrorKind::WrongArgument => Status::InvalidArgument,
        ErrorKind::Cancelled => Status::Cancelled,
        ErrorKind::NoDevice => Status::NoDevice,
        ErrorKind::DeviceFailed => Status::DeviceFailed,
        _ => Status::Internal,
    }
}

/// The text with a zero byte behind it. A text that is too long loses its middle, because paths and
/// names stand at its start and the problem at its end. A zero byte within becomes a question mark.
pub(crate) fn c_string<const N: usize>(text: &str) -> [c_char; N] {
    const GAP: &[u8] = b" ... ";
    let mut buffer = [0; N];
    let (head, tail) = match text.len() < N {
        true => (text, ""),
        false => {
            let kept = N - 1 - GAP.len();
            let head = text.floor_char_boundary(kept / 2);
            let tail = text.ceil_char_boundary(text.len() - (kept - kept / 2));
            (&text[..head], &text[tail..])
        }
    };
    let gap = if head.len() < text.len() { GAP } else { b"" };
    let bytes = head.bytes().chain(gap.iter().copied()).chain(tail.bytes());
    for (place, byte) in buffer.iter_mut().zip(bytes) {
        *place = if byte == 0 { b'?' } else { byte } as c_char;
    }
    buffer
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn text<const N: usize>(buffer: &[c_char; N]) -> String {
        let bytes: Vec<u8> = buffer.iter().map(|&byte| byte as u8).collect();
        let text = CStr::from_bytes_until_nul(&bytes).unwrap();
        text.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_becomes_an_internal_error() {
        let mut report = ErrorReport::new(Status::Ok, "");
        for (expected, panic) in [
            ("internal error: a text", (|| panic!("a text")) as fn() -> _),
            ("internal error: number 7", || panic!("number {}", 7)),
            ("internal error: a panic", || std::panic::panic_any(7)),
        ] {
            // SAFETY: the report is a local variable.
            let status = unsafe { call(&mut report, panic) };
            assert_eq!(
                (status, report.status),
                (Status::Internal, Status::Internal)
            );
            assert_eq!(text(&report.message), expected);
        }
    }

    #[test]
    fn every_rule_and_category_fits() {
        for rule in Rule::ALL {
            assert_eq!(text(&c_string::<UNWEIGHT_RULE_BYTES>(rule.id())), rule.id());
            let category = rule.category().name();
            assert_eq!(
                text(&c_string::<UNWEIGHT_CATEGORY_BYTES>(category)),
                category
            );
        }
    }

    #[test]
    fn a_long_text_keeps_both_ends_and_whole_characters() {
        assert_eq!(text(&c_string::<16>("fifteen bytes..")), "fifteen bytes..");
        assert_eq!(text(&c_string::<16>("0123456789abcdef")), "01234 ... bcdef");
        for shift in 0..4 {
            let long = "x".repeat(shift) + &"\u{1f600}".repeat(20);
            let short = text(&c_string::<32>(&long));
            assert!(short.len() < 32 && short.contains(" ... "), "{short}");
        }
        assert_eq!(text(&c_string::<16>("a\0b")), "a?b");
    }

    #[test]
    fn a_report_keeps_its_size() {
        assert_eq!(size_of::<ErrorReport>(), 512);
    }
}
