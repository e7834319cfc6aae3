//! Reading of a tensor up to an error.

use unweight::{
    ReadError, Serial, Storage,
    container::{Container, decode_tensor},
};
use unweight_format::Tensor;

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
