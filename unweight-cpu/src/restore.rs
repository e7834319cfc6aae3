//! The restored source of a container (sections 3.3 and 7): what a decoder that reads a whole file gives.

use unweight_format::SourceKind;

use crate::safetensors::require_same_story;
use crate::{Container, Executor, ReadError, Storage, decode_tensor};

impl<S: Storage + ?Sized> Container<'_, S> {
    /// The source section, checked against the directory too.
    ///
    /// # Errors
    /// `source-crc`, `source-header`.
    pub fn checked_source(&self) -> Result<Vec<u8>, ReadError> {
        let source = self.source()?;
        let header = self.header();
        if header.source_kind() == SourceKind::Safetensors {
            require_same_story(&source, header.source().offset, self.directory())?;
        }
        Ok(source)
    }
}

/// Gives the restored source of a container to `output`, in order and in pieces: the source section, then every tensor. Checks every
/// rule of the specification that opening the container has not; what has been handed out before an error is not to be used.
///
/// # Errors
/// The rule that is broken; what `output` returns.
pub fn restore<S, E>(
    container: &Container<'_, S>,
    executor: &impl Executor,
    mut output: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E>
where
    S: Storage + ?Sized,
    E: From<ReadError> + Send,
{
    container.require_zero_padding()?;
    output(&container.checked_source()?)?;
    for tensor in container.directory().tensors() {
        decode_tensor(container, &tensor, executor, &mut output)?;
    }
    Ok(())
}
