//! Device memory that launches read and write, and its owners.

mod buffer;
mod capture;
mod in_flight;
mod output;
mod source;

pub use buffer::DeviceBuffer;
pub use capture::RelaxedCapture;
pub use in_flight::{Handover, InFlight, WaitAtEnd, require_context, require_no_capture};
pub use output::Output;
pub use source::Source;
