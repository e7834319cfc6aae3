//! The writer: what [`validate`](crate::validate) reads, in the same layout. It streams to a
//! [`Sink`]; what it keeps in memory is the directory and the record ends of one tensor.

mod coded;
mod container;
mod declaration;
mod directory;
mod error;
mod file_header;
mod raw;
mod record;
mod sink;

pub use coded::{CodedParameters, CodedWriter};
pub use container::ContainerWriter;
pub use declaration::{Declaration, Shape};
pub use error::WriteError;
pub use raw::RawWriter;
pub use record::{RecordBody, write_record};
#[cfg(feature = "std")]
pub use sink::SeekSink;
pub use sink::Sink;
