//! The writer: what [`validate`](crate::validate) reads, in the same layout. It streams to a
//! [`Sink`]; what it keeps in memory is the directory and the record ends of one tensor.

mod container;
mod directory;
mod file_header;
mod record;
mod sink;

pub use container::{
    CodedParameters, CodedWriter, ContainerWriter, Declaration, RawWriter, WriteError,
};
pub use record::{RecordBody, write_record};
#[cfg(feature = "std")]
pub use sink::SeekSink;
pub use sink::Sink;
