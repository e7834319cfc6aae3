//! Slices of tensors. Only the chunks or blocks that contain their elements are read, each once.

use std::sync::{Mutex, PoisonError};

use unweight_cpu::fast::Output;
use unweight_format::Tensor;

use super::Container;
use super::index::{TensorIndex, piece_weights, weight_bytes};
use crate::memory::{index_bytes, largest_chunk_bytes, pieces_bytes};
use crate::slice::Runs;
use crate::storage::coalesce::Window;
use crate::storage::pool::Pool;
use crate::threads::{Items, in_order};
use crate::{Executor, Purpose, ReadError, Storage};

/// The share of a slice that one piece of the tensor has.
struct Share<'o> {
    /// The number of the piece.
    piece: u64,
    /// The position in the slice of the first byte.
    position: u64,
    output: &'o mut [u8],
}

/// Buffers of a thread.
#[derive(Default)]
struct Buffers {
    /// The bytes of a piece from the first that is needed to the last.
    bytes: Vec<u8>,
    decoded: Vec<u8>,
}

impl<S: Storage + ?Sized> Container<'_, S> {
    /// Reads the original bytes of these runs of a tensor of any type into `output`. Reads and
    /// checks only the chunks or blocks that contain them, each once.
    ///
    /// # Errors
    /// The errors of [`Container::read_bytes`]; [`ReadError::Executor`].
    ///
    /// # Panics
    /// If a run leaves the tensor, or `output` is not as long as the runs.
    pub(crate) fn read_runs(
        &self,
        tensor: &Tensor<'_>,
        runs: &Runs,
        executor: &dyn Executor,
        output: &mut [u8],
    ) -> Result<(), ReadError> {
        assert_eq!(output.len() as u64, runs.bytes());
        let named = |error: ReadError| error.of_tensor(tensor.name());
        let payload = tensor.payload();
        let piece_bytes = piece_weights(payload) * weight_bytes(payload);
        // The pieces are counted before there is memory for a list of them.
        let count = ends(runs, piece_bytes).count();
        let held_for_slice = index_bytes(tensor) + pieces_bytes(count as u64);
        let chunk = largest_chunk_bytes(tensor);
        self.workers_beside(Purpose::Tensor, self.held_bytes() + held_for_slice, chunk)?;
        let mut window = Window::default();
        let container = self.with_short_payload(tensor, &mut window);
        let held = container.held_bytes() + held_for_slice;
        let in_work = container.workers_beside(Purpose::Tensor, held, chunk)?;

        let mut shares = Vec::with_capacity(count);
        let (mut position, mut rest) = (0, output);
        for (piece, end) in ends(runs, piece_bytes) {
            let (output, others) = rest.split_at_mut((end - position) as usize);
            let share = Share {
                piece,
                position,
                output,
            };
            // Each share is taken once.
            shares.push(Mutex::new(Some(share)));
            (position, rest) = (end, others);
        }
        let piece_of = |share: &Mutex<Option<Share<'_>>>| {
            let share = share.lock().unwrap_or_else(PoisonError::into_inner);
            share.as_ref().map_or(0, |share| share.piece)
        };
        let chunks = match (payload.forms().is_coded(), shares.first(), shares.last()) {
            (true, Some(first), Some(last)) => piece_of(first)..piece_of(last) + 1,
            _ => 0..0,
        };
        let mut buffer = Vec::new();
        let index = container
            .index_of_chunks(tensor, None, chunks, &mut buffer)
            .map_err(named)?;
        let buffers = Pool::<Buffers>::default();
        let read = |number: u64| {
            let share = shares[number as usize].lock();
            let share = share.unwrap_or_else(PoisonError::into_inner).take();
            let share = share.expect("each share is worked on once");
            let mut own = buffers.take();
            let done = container.read_share(&index, runs, share, &mut own);
            buffers.put(own);
            done.map_err(named)
        };
        let items = Items::new(count as u64).at_most(in_work);
        in_order(executor, items, read, |()| Ok(()))
    }

    fn read_share(
        &self,
        index: &TensorIndex<'_>,
        runs: &Runs,
        share: Share<'_>,
        buffers: &mut Buffers,
    ) -> Result<(), ReadError> {
        let Share {
            piece,
            position,
            output,
        } = share;
        let Buffers { bytes, decoded } = buffers;
        let positions = position..position + output.len() as u64;
        let needed = runs.offset(positions.start)..runs.offset(positions.end - 1) + 1;
        let needed_bytes = needed.end - needed.start;
        if needed_bytes == output.len() as u64 {
            return self.read_part(index, piece, needed, &mut Output::from(output), decoded);
        }
        let first = needed.start;
        bytes.resize(needed_bytes as usize, 0);
        self.read_part(
            index,
            piece,
            needed,
            &mut Output::from(&mut bytes[..]),
            decoded,
        )?;
        let mut rest = output;
        for (offset, length) in runs.parts(positions) {
            let (run, others) = rest.split_at_mut(length as usize);
            let from = (offset - first) as usize;
            run.copy_from_slice(&bytes[from..from + run.len()]);
            rest = others;
        }
        Ok(())
    }
}

/// The pieces that contain bytes of a slice: the number of each, and the position in the slice
/// where its share ends.
fn ends(runs: &Runs, piece_bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut position = 0;
    std::iter::from_fn(move || {
        if position == runs.bytes() {
            return None;
        }
        let piece = runs.offset(position) / piece_bytes;
        position = runs.position_of_end(position, (piece + 1) * piece_bytes);
        Some((piece, position))
    })
}
