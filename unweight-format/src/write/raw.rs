//! Writes one raw tensor into a container (sections 3.5 and 4.2).

use crate::palettes::Palettes;
use crate::write::{ContainerWriter, PlainWriter, Sink, WriteError};

/// Writes one raw tensor: its plain plane is its original bytes.
#[derive(Debug)]
pub struct RawWriter<'w, 'a, S>(PlainWriter<'w, 'a, S>);

impl<'w, 'a, S: Sink> RawWriter<'w, 'a, S> {
    pub(super) fn begin(
        container: &'w mut ContainerWriter<'a, S>,
    ) -> Result<Self, WriteError<S::Error>> {
        let dtype = container.declaration()?.dtype;
        PlainWriter::begin(container, &Palettes::raw(dtype)).map(RawWriter)
    }
}

impl<S: Sink> RawWriter<'_, '_, S> {
    /// Appends original bytes; any number at a time.
    ///
    /// # Errors
    /// [`Misuse::PlaneTooLong`](crate::write::Misuse::PlaneTooLong) if the tensor has fewer bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError<S::Error>> {
        self.0.write(bytes)
    }

    /// Ends the tensor.
    ///
    /// # Errors
    /// [`Misuse::PlaneTooShort`](crate::write::Misuse::PlaneTooShort) if bytes are missing.
    pub fn finish(self) -> Result<(), WriteError<S::Error>> {
        let tensor_checksum = self.0.plane_checksum();
        self.0.finish(tensor_checksum)
    }
}
