//! Whole tensors out of a container (section 7).

use half::bf16;
use unweight_format::{Payload, RecordEnds, Tensor};

use crate::encode::{checksum_of, to_bytes};
use crate::{Container, Executor, ReadError, Storage};

/// Decodes a whole tensor, and gives its original bytes to `output`, in order and in pieces. Checks every rule that
/// concerns the tensor but the zero padding; the tensor checksum last.
///
/// # Errors
/// The rules of sections 4.2, 4.3, 5, 6 and 8; what `output` returns.
pub fn decode_tensor<S, E>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    executor: &impl Executor,
    mut output: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E>
where
    S: Storage + ?Sized,
    E: From<ReadError> + Send,
{
    let named = |error: ReadError| E::from(error.of_tensor(tensor.name()));
    let mut tensor_checksum = crc32fast::Hasher::new();
    let mut hand_over = |bytes: Vec<u8>, checksum: crc32fast::Hasher| {
        tensor_checksum.combine(&checksum);
        output(&bytes)
    };
    match tensor.payload() {
        Payload::Raw(plane) => executor.in_order(
            plane.block_count(),
            |number| {
                let mut buffer = Vec::new();
                let block = container
                    .read_block(plane, number, &mut buffer)
                    .map_err(named)?;
                Ok((block.to_vec(), checksum_of(block)))
            },
            |(block, checksum)| hand_over(block, checksum),
        )?,
        Payload::Coded(planes) => {
            let ends = container.record_ends(planes).map_err(named)?;
            let ends = RecordEnds::parse(planes, &ends).map_err(|error| named(error.into()))?;
            executor.in_order(
                planes.chunk_count(),
                |number| {
                    let shape = planes.chunk(number);
                    let mut weights = vec![bf16::ZERO; shape.weights as usize];
                    container
                        .decode_chunk(planes, &shape, ends.record(number), &mut weights)
                        .map_err(named)?;
                    let bytes = to_bytes(&weights);
                    let checksum = checksum_of(&bytes);
                    Ok((bytes, checksum))
                },
                |(bytes, checksum)| hand_over(bytes, checksum),
            )?;
        }
    }
    tensor
        .require_checksum(tensor_checksum.finalize())
        .map_err(|error| named(error.into()))
}
