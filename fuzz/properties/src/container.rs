//! A container as the program reads it.

use unweight_cpu::{Container, OpenFile, ReadError, Serial, Storage, decode_tensor, safetensors};
use unweight_format::{SourceKind, Tensor};

/// The restored source of a container, every rule checked: what `unweight decompress` writes.
///
/// # Errors
/// The rule that it breaks.
pub fn restored<S: Storage + ?Sized>(file: &S) -> Result<Vec<u8>, ReadError> {
    let open = OpenFile::read(file)?;
    let container = Container::parse(&open)?;
    container.require_zero_padding()?;
    let mut bytes = checked_source(&container)?;
    for tensor in container.directory().tensors() {
        bytes.extend(tensor_bytes(&container, &tensor)?);
    }
    Ok(bytes)
}

/// The source section, the rule `source-header` included.
pub(crate) fn checked_source<S: Storage + ?Sized>(
    container: &Container<'_, S>,
) -> Result<Vec<u8>, ReadError> {
    let source = container.source()?;
    let header = container.header();
    if header.source_kind() == SourceKind::Safetensors {
        let offset = header.source().offset;
        safetensors::require_same_story(&source, offset, container.directory())?;
    }
    Ok(source)
}

/// The original bytes of a tensor.
pub(crate) fn tensor_bytes<S: Storage + ?Sized>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
) -> Result<Vec<u8>, ReadError> {
    let (bytes, verdict) = tensor_bytes_so_far(container, tensor);
    verdict.map(|()| bytes)
}

/// What was handed out of a tensor before the verdict, and the verdict.
pub(crate) fn tensor_bytes_so_far<S: Storage + ?Sized>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
) -> (Vec<u8>, Result<(), ReadError>) {
    let mut bytes = Vec::new();
    let verdict = decode_tensor(container, tensor, &Serial, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    (bytes, verdict)
}
