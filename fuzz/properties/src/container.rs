//! A container as the program reads it.

use unweight::{
    ReadError, Serial, Storage,
    container::{Container, OpenFile, decode_tensor, restore},
};
use unweight_format::Tensor;

/// The restored source of a container, every rule checked: what `unweight decompress` writes.
///
/// # Errors
/// The rule that it breaks.
pub fn restored<S: Storage + ?Sized>(file: &S) -> Result<Vec<u8>, ReadError> {
    let open = OpenFile::read(file)?;
    let container = open.container();
    let mut bytes = Vec::new();
    restore(&container, &Serial, |piece| {
        bytes.extend_from_slice(piece);
        Ok::<_, ReadError>(())
    })?;
    Ok(bytes)
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
