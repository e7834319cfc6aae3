//! Device memory that launches read and write, and its owners.

mod buffer;
mod capture;
mod in_flight;
#[cfg(test)]
mod in_flight_states;
mod output;
mod source;

/// The driver of `in_flight`, which `in_flight_states` replaces with a model.
mod driver {
    pub(super) use cudarc::driver::{CudaContext, CudaStream, DriverError, sys};
}

pub use buffer::DeviceBuffer;
pub use capture::RelaxedCapture;
pub use in_flight::{Handover, InFlight, WaitAtEnd, require_context, require_no_capture};
pub use output::Output;
pub use source::Source;
