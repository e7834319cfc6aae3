//! Reading of a container in the same way as the program.

use unweight::{
    ReadError, Serial, Storage,
    container::{Container, OpenFile, decode_tensor, restore},
};
use unweight_format::Tensor;

/// The restored source of a container with every rule checked, which is the output of `unweight
/// decompress`.
///
/// # Errors
/// The error of the broken rule.
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

/// The output for a tensor before the result, and the result.
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
