//! Decoding of whole tensors from a container (section 7).

use std::sync::{Mutex, PoisonError};

use crc32fast::Hasher;
use unweight_format::Tensor;

use unweight_cpu::fast::Output;

use super::Container;
use super::coalesce::Groups;
use super::index::{piece_weights, weight_bytes};
use crate::memory::{index_bytes, largest_chunk_bytes, pieces_bytes};
use crate::storage::coalesce::Window;
use crate::storage::pool::Pool;
use crate::threads::in_order;
use crate::{Executor, Purpose, ReadError, Storage};

/// Decodes a whole tensor, and passes its original bytes to `output`, in order and in pieces.
/// Checks every rule on the tensor except zero bytes between its parts, and the tensor checksum
/// last.
///
/// # Errors
/// The rules of sections 3.5, 5, 6 and 8; [`ReadError::OverBudget`], [`ReadError::Io`],
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
    let needed = container.held_bytes() + index_bytes(tensor) + largest_chunk_bytes(tensor);
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
    let pool = Pool::<Vec<u8>>::default();
    let hand_over = |(bytes, checksum): (Vec<u8>, u32)| {
        tensor_checksum.combine(&hasher(checksum, bytes.len()));
        let done = output(&bytes);
        pool.put(bytes);
        done
    };
    let mut buffer = Vec::new();
    let index = container.index(tensor, &mut buffer).map_err(named)?;
    let groups = Groups::new(container, &index, in_work, executor);
    let decode = |number| {
        let mut bytes = pool.take();
        // Every byte is overwritten, so a buffer of the same length is not cleared first.
        bytes.resize(index.piece_bytes(number) as usize, 0);
        let checksum = groups.with(number, |container| {
            container.decode_piece(&index, number, &mut Output::from(&mut bytes[..]))
        });
        Ok::<_, E>((bytes, checksum.map_err(named)?))
    };
    in_order(executor, groups.items(), decode, hand_over)?;
    tensor
        .require_checksum(tensor_checksum.finalize())
        .map_err(|error| named(error.into()))
}

/// Decodes a whole tensor into `output`, without an intermediate copy. Checks the same rules as
/// [`decode_tensor`]. All of `output` is initialised on success. Its content is unspecified after
/// an error.
///
/// # Errors
/// The rules of sections 3.5, 5, 6 and 8; [`ReadError::OverBudget`], [`ReadError::Io`],
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
    let piece_bytes = piece_weights(tensor.payload()) * weight_bytes(tensor.payload());
    let count = tensor.data_bytes().div_ceil(piece_bytes);
    let held_for_tensor = index_bytes(tensor) + pieces_bytes(count);
    let chunk = largest_chunk_bytes(tensor);
    let needed = container.held_bytes() + held_for_tensor + chunk;
    let mut window = Window::default();
    let container = &container.with_payload(tensor, container.longest_window(needed), &mut window);
    let held = container.held_bytes() + held_for_tensor;
    let in_work = container.workers_beside(Purpose::Tensor, held, chunk)?;
    let named = |error: ReadError| error.of_tensor(tensor.name());
    let mut tensor_checksum = Hasher::new();
    // Each part of the output is taken once.
    let pieces: Vec<_> = output
        .pieces(piece_bytes as usize)
        .map(|piece| Mutex::new(Some(piece)))
        .collect();
    let piece = |number: u64| {
        let piece = pieces[number as usize].lock();
        let mut piece = piece.unwrap_or_else(PoisonError::into_inner);
        piece.take().expect("each piece is worked on once")
    };
    let mut buffer = Vec::new();
    let index = container.index(tensor, &mut buffer).map_err(named)?;
    let groups = Groups::new(container, &index, in_work, executor);
    let decode = |number| {
        let mut piece = piece(number);
        let checksum = groups.with(number, |container| {
            container.decode_piece(&index, number, &mut piece)
        });
        Ok((checksum.map_err(named)?, piece.len()))
    };
    let combine = |(checksum, length)| {
        tensor_checksum.combine(&hasher(checksum, length));
        Ok::<_, ReadError>(())
    };
    in_order(executor, groups.items(), decode, combine)?;
    tensor
        .require_checksum(tensor_checksum.finalize())
        .map_err(|error| named(error.into()))
}

/// The state of a checksum of this many bytes.
fn hasher(checksum: u32, length: usize) -> Hasher {
    Hasher::new_with_initial_len(checksum, length as u64)
}
