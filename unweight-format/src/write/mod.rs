//! The writer of the layout that [`validate`](crate::validate) reads. It streams to a [`Sink`]. In
//! memory it keeps the directory, and for one tensor the record ends or block checksums, and a bit
//! for each chunk.

mod chunk_set;
mod coded;
mod container;
mod declaration;
mod directory;
mod error;
mod extension;
mod file_header;
mod plain;
mod raw;
mod record;
mod sink;

pub use coded::{Access, CodedWriter, Places};
pub use container::ContainerWriter;
pub use declaration::{Declaration, Shape};
pub use error::{Misuse, WriteError};
pub use plain::PlainWriter;
pub use raw::RawWriter;
pub use record::{RecordBody, write_record};
#[cfg(feature = "std")]
pub use sink::SeekSink;
pub use sink::{SharedSink, Sink};
