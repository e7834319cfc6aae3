//! Decoding of whole tensors from a container (section 7).

use std::sync::Mutex;

use crc32fast::Hasher;
use unweight_format::{Payload, RecordEnds, Tensor, layout};

use unweight_cpu::fast::Output;

use super::Container;
use super::coalesce::{Groups, Plane};
use super::encode::checksum_of;
use crate::memory::{chunk_bytes, index_bytes, largest_chunk, pieces_bytes};
use crate::storage::coalesce::Window;
use crate::storage::pool::Pool;
use crate::threads::in_order;
use crate::{Executor, Purpose, ReadError, Storage};

/// Decodes a whole tensor, and passes its original bytes to `output`, in order and in pieces.
/// Checks every rule on the tensor except the zero padding, and the tensor checksum last.
///
/// # Errors
/// The rules of sections 4.2, 4.3, 5, 6 and 8; [`ReadError::OverBudget`], [`ReadError::Io`],
/// [`ReadError::Executor`]; the errors of `output`.
pub fn decode_tensor<S, E>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    executor: &dyn Executor,
    output: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E>
where
    S: Storage + ?Sized,
    E: From<ReadError> + Send,
{
    let needed = container.held_bytes() + index_bytes(tensor) + chunk_bytes(largest_chunk(tensor));
    let mut window = Window::default();
    let container = &container.with_payload(tensor, container.longest_window(needed), &mut window);
    let in_work = container.chunks_in_work(tensor).map_err(ReadError::from)?;
    decode_within(container, tensor, executor, in_work, output)
}

/// Same as [`decode_tensor`], with at most `in_work` chunks or blocks in work at a time.
pub(super) fn decode_within<S, E>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    executor: &dyn Executor,
    in_work: u64,
    mut output: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E>
where
    S: Storage + ?Sized,
    E: From<ReadError> + Send,
{
    let named = |error: ReadError| E::from(error.of_tensor(tensor.name()));
    let mut tensor_checksum = Hasher::new();
    let buffers = Pool::<Vec<u8>>::default();
    let mut hand_over = |(bytes, checksum): (Vec<u8>, Hasher)| {
        tensor_checksum.combine(&checksum);
        let done = output(&bytes);
        buffers.put(bytes);
        done
    };
    match tensor.payload() {
        Payload::Raw(plane) => {
            let groups = Groups::new(container, Plane::Raw(plane), in_work, executor);
            let read = |number| {
                let (mut bytes, mut buffer) = (buffers.take(), Vec::new());
                groups.with(number, |container| {
                    let block = container.read_block(plane, number, &mut buffer);
                    bytes.clear();
                    bytes.extend_from_slice(block.map_err(named)?);
                    let checksum = checksum_of(&bytes);
                    Ok::<_, E>((bytes, checksum))
                })
            };
            in_order(executor, groups.items(), read, &mut hand_over)?;
        }
        Payload::Coded(planes) => {
            let ends = container.record_ends(planes).map_err(named)?;
            let ends = RecordEnds::parse(planes, &ends).map_err(|error| named(error.into()))?;
            let groups = Groups::new(container, Plane::Coded(planes, ends), in_work, executor);
            let decode = |number| {
                let (shape, record) = (planes.chunk(number), ends.record(number));
                let mut bytes = buffers.take();
                bytes.resize(2 * shape.weights as usize, 0);
                let mut output = Output::from(&mut bytes[..]);
                let checksum = groups.with(number, |container| {
                    container.decode_chunk_into(planes, &shape, record, &mut output)
                });
                let length = bytes.len() as u64;
                let checksum = Hasher::new_with_initial_len(checksum.map_err(named)?, length);
                Ok::<_, E>((bytes, checksum))
            };
            in_order(executor, groups.items(), decode, &mut hand_over)?;
        }
    }
    tensor
        .require_checksum(tensor_checksum.finalize())
        .map_err(|error| named(error.into()))
}

/// Decodes a whole tensor into `output`, without an intermediate copy. Checks the same rules as
/// [`decode_tensor`]. All of `output` is initialised on success. Its content is unspecified after
/// an error.
///
/// # Errors
/// The rules of sections 4.2, 4.3, 5, 6 and 8; [`ReadError::OverBudget`], [`ReadError::Io`],
/// [`ReadError::Executor`].
///
/// # Panics
/// If the length of `output` differs from the tensor's.
pub fn decode_tensor_into<'o, S>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    executor: &dyn Executor,
    output: impl Into<Output<'o>>,
) -> Result<(), ReadError>
where
    S: Storage + ?Sized,
{
    let output = output.into();
    assert_eq!(output.len() as u64, tensor.data_bytes());
    let index = index_bytes(tensor) + pieces_bytes(tensor);
    let needed = container.held_bytes() + index + chunk_bytes(largest_chunk(tensor));
    let mut window = Window::default();
    let container = &container.with_payload(tensor, container.longest_window(needed), &mut window);
    let held = container.held_bytes() + index;
    let in_work = container.workers_beside(Purpose::Tensor, held, largest_chunk(tensor))?;
    let named = |error: ReadError| error.of_tensor(tensor.name());
    let mut tensor_checksum = Hasher::new();
    let piece_bytes = match tensor.payload() {
        Payload::Raw(_) => layout::BLOCK_BYTES as usize,
        Payload::Coded(planes) => 2 << planes.chunk_size_log2(),
    };
    // Each part of the output is taken once.
    let pieces: Vec<_> = output
        .pieces(piece_bytes)
        .map(|piece| Mutex::new(Some(piece)))
        .collect();
    let piece = |item: u64| {
        let piece = pieces[item as usize].lock();
        let mut piece = piece.unwrap_or_else(std::sync::PoisonError::into_inner);
        piece.take().expect("each item is worked on once")
    };
    let combine = |checksum: Hasher| {
        tensor_checksum.combine(&checksum);
        Ok::<_, ReadError>(())
    };
    match tensor.payload() {
        Payload::Raw(plane) => {
            let groups = Groups::new(container, Plane::Raw(plane), in_work, executor);
            let write = |number| {
                let mut buffer = Vec::new();
                groups.with(number, |container| {
                    let block = container.read_block(plane, number, &mut buffer);
                    Ok(checksum_of(piece(number).fill(block.map_err(named)?)))
                })
            };
            in_order(executor, groups.items(), write, combine)?;
        }
        Payload::Coded(planes) => {
            let ends = container.record_ends(planes).map_err(named)?;
            let ends = RecordEnds::parse(planes, &ends).map_err(|error| named(error.into()))?;
            let groups = Groups::new(container, Plane::Coded(planes, ends), in_work, executor);
            let write = |number| {
                let (shape, record) = (planes.chunk(number), ends.record(number));
                let mut piece = piece(number);
                let checksum = groups.with(number, |container| {
                    container.decode_chunk_into(planes, &shape, record, &mut piece)
                });
                let length = 2 * u64::from(shape.weights);
                Ok(Hasher::new_with_initial_len(
                    checksum.map_err(named)?,
                    length,
                ))
            };
            in_order(executor, groups.items(), write, combine)?;
        }
    }
    tensor
        .require_checksum(tensor_checksum.finalize())
        .map_err(|error| named(error.into()))
}
