//! Restoring the source of a container (sections 3.3 and 7): the output of a decoder that reads a
//! whole file.

use std::slice;

use unweight_format::SourceKind;

use super::{Container, decode_tensor};
use crate::memory::{index_bytes, largest_chunk_bytes, source_bytes};
use crate::safetensors::check_source_matches_directory;
use crate::storage::coalesce::Window;
use crate::{Executor, OverBudget, Purpose, ReadError, Storage};

impl<S: Storage + ?Sized> Container<'_, S> {
    /// The source section, also checked against the directory.
    ///
    /// # Errors
    /// `source-crc`, `source-header`; [`ReadError::OverBudget`].
    pub fn checked_source(&self) -> Result<Vec<u8>, ReadError> {
        let header = self.header();
        let needed = self.held_bytes() + source_bytes(header.source().length);
        self.budget().require(Purpose::Source, needed)?;
        let source = self.source()?;
        if header.source_kind() == SourceKind::Safetensors {
            check_source_matches_directory(&source, header.source().offset, self.directory())?;
        }
        Ok(source)
    }

    /// Checks that the budget suffices for [`restore`].
    ///
    /// # Errors
    /// [`OverBudget`].
    pub(crate) fn require_memory_to_restore(&self) -> Result<(), OverBudget> {
        self.budget()
            .require(Purpose::Restore, self.bytes_to_restore())
    }

    /// The smallest budget with which the whole file can be restored.
    fn bytes_to_restore(&self) -> u64 {
        let source = source_bytes(self.header().source().length);
        let tensors = self
            .directory()
            .tensors()
            .map(|tensor| index_bytes(&tensor) + largest_chunk_bytes(&tensor));
        self.held_bytes() + tensors.fold(source, u64::max)
    }
}

/// Passes the restored source of a container to `output`, in order and in pieces: the source
/// section, then every tensor. Checks every rule of the specification that opening the container
/// has not checked. The output before an error must be discarded.
///
/// # Errors
/// The error of the broken rule; [`ReadError::OverBudget`], before any output; the errors of
/// `output`.
pub fn restore<S, E>(
    container: &Container<'_, S>,
    executor: &dyn Executor,
    mut output: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E>
where
    S: Storage + ?Sized,
    E: From<ReadError> + Send,
{
    container
        .require_memory_to_restore()
        .map_err(ReadError::from)?;
    let mut window = Window::default();
    let longest = container.longest_window(container.bytes_to_restore());
    container.require_zero_padding_with(longest, &mut window)?;
    output(&container.checked_source()?)?;
    for (number, tensor) in (0..).zip(container.directory().tensors()) {
        container.load_payloads(number, longest, &mut window);
        let container = &container.with_windows(slice::from_ref(&window));
        decode_tensor(container, &tensor, executor, &mut output)?;
    }
    Ok(())
}
