//! The chunks of a tensor that is to be encoded, as a storage has them.

use std::ops::Range;

use unweight_cpu::fast::{Codec, Scratch};
use unweight_cpu::reference::{
    Sample, SampledForms, TensorPlan, WHOLE_SAMPLE_WEIGHTS, sample_ranges_within,
};
use unweight_cpu::{ChunkEntryCounts, TensorCounts};
use unweight_format::write::Declaration;
use unweight_format::{Dtype, Extent, Form, Forms, Palettes};

use super::write_chunks::EncodedChunk;
use crate::storage::limit_capacity;
use crate::storage::pool::Pool;
use crate::threads::{Items, in_order};
use crate::{Executor, ReadError, Serial, Storage, read_extent};

/// The buffers and tables of one worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    /// Buffer for a chunk's weights, used if the storage does not lend them.
    weights: Vec<u8>,
    scratch: Scratch,
}

/// The chunks of a tensor's original bytes.
pub(super) struct SourceChunks<'s, R: ?Sized> {
    pub(super) codec: Codec,
    pub(super) storage: &'s R,
    /// The tensor's bytes in the storage: those of whole weights.
    pub(super) data: Extent,
    pub(super) tensor: Declaration<'s>,
    pub(super) chunk_size_log2: u8,
    pub(super) workers: &'s Pool<Worker>,
    pub(super) chunks_in_work: u64,
    pub(super) executor: &'s dyn Executor,
}

/// A thread's part of a sample: what is counted of it, and weights that are not counted yet.
#[derive(Default)]
struct Sampling {
    sample: Option<Sample>,
    weights: Vec<u8>,
}

impl Sampling {
    /// Weights that are counted at once. Counting some hundred takes twice the time for each.
    const BYTES: usize = 16 << 10;

    /// Counts the weights that are not counted yet.
    fn counted(&mut self, codec: Codec, dtype: Dtype) -> &Sample {
        let sample = self.sample.get_or_insert_with(|| Sample::new(dtype));
        codec.count_sample(sample, &self.weights);
        self.weights.clear();
        sample
    }
}

impl<'s, R: Storage + ?Sized> SourceChunks<'s, R> {
    /// The same chunks, whose bytes have been read. The caller's thread works on them alone.
    pub(super) fn in_memory<'b>(&self, bytes: &'b [u8]) -> SourceChunks<'b, [u8]>
    where
        's: 'b,
    {
        SourceChunks {
            codec: self.codec,
            storage: bytes,
            data: Extent {
                offset: 0,
                length: bytes.len() as u64,
            },
            tensor: self.tensor,
            chunk_size_log2: self.chunk_size_log2,
            workers: self.workers,
            chunks_in_work: 1,
            executor: &Serial,
        }
    }

    /// Number of weights.
    pub(super) fn weights(&self) -> u64 {
        self.data.length / self.weight_bytes()
    }

    fn weight_bytes(&self) -> u64 {
        self.tensor.dtype.weight_bytes() as u64
    }

    pub(super) fn items(&self) -> Items {
        let chunks = self.weights().div_ceil(1 << self.chunk_size_log2);
        Items::new(chunks).at_most(self.chunks_in_work)
    }

    /// The chunks, for work that takes a few microseconds each. Many threads would otherwise wait
    /// for the lock of the tasks.
    fn items_to_count(&self) -> Items {
        const MOST_PER_TASK: u64 = 64;
        const TASKS_PER_THREAD: u64 = 8;
        let tasks = TASKS_PER_THREAD.saturating_mul(self.executor.threads() as u64);
        let chunks = self.weights() >> self.chunk_size_log2;
        let per_task = chunks / tasks.max(1);
        (self.items()).per_task(per_task.clamp(Items::PER_TASK, MOST_PER_TASK))
    }

    /// The bytes of these weights in the storage.
    fn extent(&self, weights: Range<u64>) -> Extent {
        Extent {
            offset: self.data.offset + weights.start * self.weight_bytes(),
            length: (weights.end - weights.start) * self.weight_bytes(),
        }
    }

    /// Whether all weights are the tensor's sample.
    pub(super) fn are_all_sampled(&self) -> bool {
        self.weights() <= WHOLE_SAMPLE_WEIGHTS
    }

    /// A few ranges of the tensor's sample, or all of it if that is one range.
    pub(super) fn sample_some(&self) -> Result<Sample, ReadError> {
        // Each costs a read. They are as many as show what most tensors are like.
        const RANGES: u64 = 8;
        let weights = self.weights();
        let mut sample = Sample::new(self.tensor.dtype);
        let mut sampled = 0;
        let mut buffer = Vec::new();
        for part in 0..RANGES {
            let from = sampled.max(weights / RANGES * part);
            if let Some(range) = sample_ranges_within(weights, from..weights).next() {
                sampled = range.end;
                let bytes = read_extent(self.storage, self.extent(range), &mut buffer)
                    .map_err(|error| self.failed(error))?;
                self.codec.count_sample(&mut sample, bytes);
            }
        }
        Ok(sample)
    }

    /// Counts all chunks for these forms.
    pub(super) fn count(&self, forms: SampledForms) -> Result<TensorCounts, ReadError> {
        let mut counts = self.no_counts(forms);
        let count = |_, bytes: &[u8], _: &mut _| self.codec.count_chunk(&forms, bytes);
        self.each(self.items_to_count(), count, |chunk| {
            counts.push(chunk);
            Ok::<_, ReadError>(())
        })?;
        Ok(counts)
    }

    /// Does the same as [`count`](SourceChunks::count), and takes the sample.
    pub(super) fn count_and_sample(
        &self,
        forms: SampledForms,
    ) -> Result<(TensorCounts, Sample), ReadError> {
        let mut counts = self.no_counts(forms);
        let count = |bytes: &[u8]| self.codec.count_chunk(&forms, bytes);
        let sample = self.each_sampled(self.items_to_count(), count, |chunk| {
            counts.push(chunk);
            Ok::<_, ReadError>(())
        })?;
        Ok((counts, sample))
    }

    fn no_counts(&self, forms: SampledForms) -> TensorCounts {
        TensorCounts::new(forms, self.weights().div_ceil(1 << self.chunk_size_log2))
    }

    /// Passes the tensor's bytes to `output`, in order and in pieces.
    pub(super) fn copy<E: From<ReadError> + Send>(
        &self,
        mut output: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let pool = Pool::<Vec<u8>>::default();
        self.each(
            self.items(),
            |_, bytes, _| copied(&pool, bytes),
            |bytes| {
                let done = output(&bytes);
                pool.put(bytes);
                done
            },
        )
    }

    /// Does the same as [`copy`](SourceChunks::copy), and takes the sample.
    pub(super) fn copy_and_sample<E: From<ReadError> + Send>(
        &self,
        mut output: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Sample, E> {
        let pool = Pool::<Vec<u8>>::default();
        self.each_sampled(
            self.items(),
            |bytes| copied(&pool, bytes),
            |bytes| {
                let done = output(&bytes);
                pool.put(bytes);
                done
            },
        )
    }

    /// Bytes of the plain plane of chunk `number`.
    pub(super) fn plain_bytes(&self, number: u64, forms: Forms) -> usize {
        let first = number << self.chunk_size_log2;
        let weights = (self.weights() - first).min(1 << self.chunk_size_log2);
        plain_bytes(forms, (weights * self.weight_bytes()) as usize)
    }

    /// Encodes chunk `number`. Returns false if its weights have not the constants of the plan: the
    /// storage has changed since they were counted.
    pub(super) fn encode(
        &self,
        number: u64,
        plan: &TensorPlan,
        counts: &ChunkEntryCounts,
        plain: &mut [u8],
        chunk: &mut EncodedChunk,
    ) -> Result<bool, ReadError> {
        let forms = plan.forms();
        self.with(number, |bytes, scratch| {
            if !have_constants(self.codec, plan.palettes(), bytes) {
                return false;
            }
            chunk.records.clear();
            let records = &mut chunk.records;
            let checksum = match forms.is_coded() {
                true => self
                    .codec
                    .encode_chunk(scratch, plan, counts, bytes, plain, records),
                false => {
                    self.codec.split(forms, bytes, plain, &mut []);
                    crc32fast::hash(bytes)
                }
            };
            chunk.checksum = crc32fast::Hasher::new_with_initial_len(checksum, bytes.len() as u64);
            true
        })
    }

    /// Calls `work` with each chunk's number, its bytes and a codec's buffers, and `then` with the
    /// results, in order.
    fn each<T: Send, E: From<ReadError> + Send>(
        &self,
        items: Items,
        work: impl Fn(u64, &[u8], &mut Scratch) -> T + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let work = |number| Ok(self.with(number, |bytes, scratch| work(number, bytes, scratch))?);
        in_order(self.executor, items, work, then)
    }

    /// Does the same as [`each`](SourceChunks::each), and takes the sample.
    fn each_sampled<T: Send, E: From<ReadError> + Send>(
        &self,
        items: Items,
        work: impl Fn(&[u8]) -> T + Sync,
        then: impl FnMut(T) -> Result<(), E>,
    ) -> Result<Sample, E> {
        // Each thread has its own counts. They take 2 KB for each field, and are not handed over
        // chunk by chunk.
        let samplings = Pool::<Sampling>::default();
        let sampled = |number, bytes: &[u8], _: &mut _| {
            // What is read first waits for the memory. The work does that better.
            let done = work(bytes);
            let mut sampling = samplings.take();
            self.add_to(&mut sampling, number, bytes);
            samplings.put(sampling);
            done
        };
        self.each(items, sampled, then)?;
        let mut sample = Sample::new(self.tensor.dtype);
        for mut part in samplings.into_values() {
            sample.merge(part.counted(self.codec, self.tensor.dtype));
        }
        Ok(sample)
    }

    /// Adds what is of the tensor's sample in chunk `number`, which has these bytes.
    fn add_to(&self, sampling: &mut Sampling, number: u64, bytes: &[u8]) {
        let start = number << self.chunk_size_log2;
        let end = start + bytes.len() as u64 / self.weight_bytes();
        for range in sample_ranges_within(self.weights(), start..end) {
            let [from, to] = [range.start, range.end]
                .map(|weight| ((weight - start) * self.weight_bytes()) as usize);
            sampling.weights.extend_from_slice(&bytes[from..to]);
        }
        if sampling.weights.len() >= Sampling::BYTES {
            sampling.counted(self.codec, self.tensor.dtype);
        }
    }

    /// Calls `then` with the bytes of chunk `number` and with a codec's buffers.
    fn with<T>(
        &self,
        number: u64,
        then: impl FnOnce(&[u8], &mut Scratch) -> T,
    ) -> Result<T, ReadError> {
        let first = number << self.chunk_size_log2;
        let end = self.weights().min(first + (1 << self.chunk_size_log2));
        let mut worker = self.workers.take();
        let Worker { weights, scratch } = &mut worker;
        let done = read_extent(self.storage, self.extent(first..end), weights)
            .map(|bytes| then(bytes, scratch));
        limit_capacity(
            &mut worker.weights,
            self.weight_bytes() << self.chunk_size_log2,
        );
        self.workers.put(worker);
        done.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: crate::StorageError) -> ReadError {
        ReadError::Io(error.into()).of_tensor(self.tensor.name)
    }
}

fn copied(pool: &Pool<Vec<u8>>, bytes: &[u8]) -> Vec<u8> {
    let mut copy = pool.take();
    copy.clear();
    copy.extend_from_slice(bytes);
    copy
}

/// Bytes of the plain plane of so many bytes of weights.
pub(super) fn plain_bytes(forms: Forms, weights_bytes: usize) -> usize {
    let weights = weights_bytes / forms.dtype().weight_bytes();
    (weights * forms.plain_bits() as usize).div_ceil(8)
}

/// Whether all weights have the values of the constant fields.
fn have_constants(codec: Codec, palettes: &Palettes, weights: &[u8]) -> bool {
    let forms = palettes.forms();
    let constant = forms.iter().filter(|&(_, form)| form == Form::Constant);
    let mask = constant.fold(0, |mask, (field, _)| mask | field.mask());
    let differing = || codec.differing_bits(forms.dtype(), palettes.constant_bits(), weights);
    mask == 0 || differing() & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_weight_without_the_constants() {
        let palettes = Palettes::raw(Dtype::Bf16)
            .with_constant(1, 5)
            .and_then(|palettes| palettes.with_constant(2, 0))
            .unwrap();
        for count in 1..15 {
            let mut weights: Vec<u8> = (0..count).flat_map(|i| [0x50, 17 * i]).collect();
            assert!(have_constants(Codec::current(), &palettes, &weights));
            for place in 0..weights.len() {
                weights[place] ^= 0x80;
                assert!(have_constants(Codec::current(), &palettes, &weights));
                weights[place] ^= 0x90;
                assert_eq!(
                    have_constants(Codec::current(), &palettes, &weights),
                    place % 2 == 1
                );
                weights[place] ^= 0x10;
            }
        }
    }
}
