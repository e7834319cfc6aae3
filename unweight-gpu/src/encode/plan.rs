//! Layout of the encoder's payloads, jobs and scratch: pure functions, tested without a GPU.

use unweight_format::layout::{BLOCK_BYTES, BLOCK_CHECKSUM_BYTES, RECORD_END_BYTES};
use unweight_format::{Dtype, Forms, Payload, Rule, layout, limits};

use super::job::{EncodeJob, TOTAL_BYTES};
use super::split::SplitJob;
use crate::decode::job::kind_of;
use crate::kernels::WARP;
use crate::{GpuError, MOST_CHUNKS};

/// Shared memory and threads of the kernels, as stated at the heads of their files.
pub(crate) const COUNT_SHARED_BYTES: u32 = 256 * 8 + 256 * 4 + 16 * 4;
pub(crate) const CODE_WARPS: u32 = 8;
pub(crate) const CODE_SHARED_BYTES: u32 = 8 * CODE_WARPS * (16 + 16 + WARP);
pub(crate) const SPLIT_THREADS: u32 = 8 * WARP;
pub(crate) const SPLIT_SHARED_BYTES: u32 = 8 * (2048 + 4);
pub(crate) const SAMPLE_THREADS: u32 = 8 * WARP;
pub(crate) const SAMPLE_SHARED_BYTES: u32 = 8 * 256 * 4;
pub(crate) const CHOICE_SHARED_BYTES: u32 = 2112 + 512 + 16;

/// Shared memory of `encode_chunks` without the record.
const ENCODE_TABLES_BYTES: u32 = 4 * (256 + 16 + 32 * WARP + 40 + 256) + 256 + 16 + 16 + 32;
/// Binary logarithm of the weights of one warp of `encode_chunks`.
const WARP_WEIGHTS_LOG2: u32 = 11;

/// Shared memory of a block of `encode_chunks` for chunks of at most this size.
pub(crate) const fn encode_shared_bytes(chunk_size_log2: u32) -> u32 {
    ENCODE_TABLES_BYTES + layout::longest_record_bytes(1 << chunk_size_log2, 8) as u32
}

/// Threads of a block of `encode_chunks` for chunks of at most this size.
pub(crate) const fn encode_threads(chunk_size_log2: u32) -> u32 {
    WARP << (chunk_size_log2 - WARP_WEIGHTS_LOG2)
}

/// The most warps of a block of `count_exponents`, and the most weights of one of its warps (as a
/// binary logarithm).
const MOST_COUNT_WARPS: u32 = 8;
const MOST_COUNT_WEIGHTS_LOG2: u32 = 14;
/// Number of these warps that keeps a multiprocessor's memory busy.
const COUNT_WARPS_OF_MULTIPROCESSOR: u64 = 24;

/// Threads of a block of `count_exponents` and `count_values` for chunks of at most this size. The
/// start and end of a warp take constant time, so no more warps share a chunk than needed.
pub const fn count_threads(chunk_size_log2: u32, record_count: u32, multiprocessors: u32) -> u32 {
    let enough = COUNT_WARPS_OF_MULTIPROCESSOR * multiprocessors as u64;
    let mut warps = 1 << chunk_size_log2.saturating_sub(MOST_COUNT_WEIGHTS_LOG2);
    while warps < MOST_COUNT_WARPS && warps as u64 * (record_count as u64) < enough {
        warps *= 2;
    }
    WARP * warps
}

/// Binary logarithm of the weights that a block splits in a tensor without coded fields.
const PLAIN_CHUNK_LOG2: u8 = 15;

/// A tensor to encode, with its forms and addresses.
#[derive(Clone, Copy, Debug)]
pub struct PlannedTensor {
    /// The forms of its fields.
    pub forms: Forms,
    /// The values of constant fields at their places in a weight.
    pub constant_bits: u64,
    /// The number of weights.
    pub weights: u64,
    /// Binary logarithm of the chunk size.
    pub chunk_size_log2: u8,
    /// The address of the source: weights, or the [`TensorJob`](crate::decode::job::TensorJob) of
    /// records.
    pub source: u64,
    /// The address of the output: a multiple of 256.
    pub output: u64,
}

impl PlannedTensor {
    /// The payload at the start of the output, with records of their greatest length.
    ///
    /// # Errors
    /// The errors of [`Payload::place`].
    pub fn payload(&self) -> Result<Payload, Rule> {
        let log2 = match self.forms.is_coded() {
            true => self.chunk_size_log2,
            false => 0,
        };
        Payload::place(0, self.forms, self.weights, log2)
    }
}

/// The kind of the sources of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Weights of any type.
    Weights,
    /// Records of BF16 tensors of which the exponent alone is coded, in the other encoding.
    Records,
}

/// Consecutive jobs of one launch of each kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobGroup {
    /// The index of the first job.
    pub first_job: u32,
    /// The number of jobs.
    pub job_count: u32,
    /// The number of their records.
    pub record_count: u32,
    /// Binary logarithm of their largest chunk size.
    pub largest_log2: u32,
    /// Whether one of them has Huffman codes.
    pub has_codes: bool,
}

/// The jobs of a batch.
#[derive(Debug, Default)]
pub struct Jobs {
    /// The jobs of the kernels that encode: those of `direct`, then those of `of_values`.
    pub encode: Vec<EncodeJob>,
    /// Tensors whose values are made before they are encoded, or that have constants alone.
    pub splits: Vec<SplitJob>,
    /// Jobs that encode from the sources.
    pub direct: JobGroup,
    /// Jobs that encode from values.
    pub of_values: JobGroup,
    /// The chunks of `splits`.
    pub split_chunks: u32,
    /// The address of 8 bytes for each job.
    pub tensor_codes: u64,
    /// The index of the first job of each tensor.
    pub first_jobs: Vec<usize>,
}

/// Memory that is divided in units of 256 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Division {
    start: u64,
    used: u64,
}

impl Division {
    /// Memory at this address, or at any if only its length is asked for.
    pub const fn new(start: u64) -> Division {
        Division { start, used: 0 }
    }

    /// The bytes that were taken.
    pub const fn used(&self) -> u64 {
        self.used
    }

    const fn take(&mut self, bytes: u64) -> u64 {
        let at = self.start + self.used;
        self.used += bytes.next_multiple_of(256);
        at
    }
}

/// Makes the jobs of these tensors, and assigns them memory. What is taken of `zeroed` must be zero
/// before each encoding. Jobs of `Sources::Records` are all direct.
///
/// # Errors
/// [`GpuError::TooManyChunks`].
///
/// # Panics
/// If a payload cannot be placed.
pub fn place_jobs(
    tensors: &[PlannedTensor],
    sources: Sources,
    scratch: &mut Division,
    zeroed: &mut Division,
) -> Result<Jobs, GpuError> {
    let mut jobs = Jobs {
        first_jobs: vec![0; tensors.len()],
        ..Jobs::default()
    };
    let payload_of = |tensor: &PlannedTensor| tensor.payload().expect("forms fit the tensor");
    for (number, tensor) in tensors.iter().enumerate() {
        let payload = payload_of(tensor);
        if payload.forms().is_bf16_exponent() {
            jobs.first_jobs[number] = jobs.encode.len();
            let mut job =
                coded_jobs(tensor, &payload, &mut jobs.direct, scratch, zeroed)?.remove(0);
            job.plain = tensor.output + payload.plain().offset;
            job.plain_limit = plain_limit(&payload);
            match sources {
                Sources::Weights => job.weights = tensor.source,
                Sources::Records => {
                    job.input = tensor.source;
                    let chunks = payload.chunk_count();
                    job.plain_remainders = scratch.take(4 * chunks);
                    job.record_lengths = scratch.take(4 * chunks);
                }
            }
            jobs.encode.push(job);
        }
    }
    jobs.of_values.first_job = jobs.encode.len() as u32;
    for (number, tensor) in tensors.iter().enumerate() {
        let payload = payload_of(tensor);
        if payload.forms().is_bf16_exponent() || tensor.forms.is_raw() {
            continue;
        }
        assert_eq!(sources, Sources::Weights, "records of any forms");
        jobs.first_jobs[number] = jobs.encode.len();
        let mut split = SplitJob::new(tensor.forms, tensor.constant_bits);
        split.weights = tensor.source;
        split.weight_count = tensor.weights;
        split.plain = tensor.output + payload.plain().offset;
        split.plain_limit = plain_limit(&payload);
        split.palettes = tensor.output + payload.palettes().offset;
        split.chunk_size_log2 = match payload.forms().is_coded() {
            true => payload.chunk_size_log2(),
            false => PLAIN_CHUNK_LOG2,
        };
        let chunks = tensor.weights.div_ceil(1 << split.chunk_size_log2);
        split.first_chunk = jobs.split_chunks;
        jobs.split_chunks = add_chunks(jobs.split_chunks, chunks)?;
        split.chunk_count = chunks as u32;
        let of_fields = coded_jobs(tensor, &payload, &mut jobs.of_values, scratch, zeroed)?;
        if !of_fields.is_empty() {
            split.plain_remainders = scratch.take(4 * chunks);
        }
        for (values, mut job) in split.values.iter_mut().zip(of_fields) {
            *values = scratch.take(tensor.weights);
            job.values = *values;
            if job.field == 0 {
                job.plain_remainders = split.plain_remainders;
            }
            jobs.encode.push(job);
        }
        jobs.splits.push(split);
    }
    jobs.tensor_codes = scratch.take(8 * jobs.encode.len() as u64);
    Ok(jobs)
}

/// The jobs of a tensor's coded fields, without their sources.
fn coded_jobs(
    tensor: &PlannedTensor,
    payload: &Payload,
    group: &mut JobGroup,
    scratch: &mut Division,
    zeroed: &mut Division,
) -> Result<Vec<EncodeJob>, GpuError> {
    let (forms, chunks, records) = (
        payload.forms(),
        payload.chunk_count(),
        payload.record_count(),
    );
    let look_back = zeroed.take(8 * records);
    let palettes = tensor.output + payload.palettes().offset;
    let stored = forms.iter().enumerate();
    let stored = stored.filter(|(_, (_, form))| *form != unweight_format::Form::Plain);
    let stored: Vec<usize> = stored.map(|(field_number, _)| field_number).collect();
    let first_chunk = group.record_count;
    let jobs: Vec<EncodeJob> = forms
        .coded()
        .map(|coded| {
            let palette = stored
                .iter()
                .position(|&number| number == coded.field_number);
            let palette = palette.expect("a coded field has a palette") as u64;
            EncodeJob {
                weight_count: tensor.weights,
                counts: scratch.take(256 * 4 * chunks),
                totals: zeroed.take(TOTAL_BYTES),
                palette_counts: scratch.take(16 * 4 * chunks),
                code_lengths: scratch.take(8 * chunks),
                look_back,
                record_ends: tensor.output + payload.record_ends().offset,
                records: tensor.output + payload.records().offset,
                stored_palette: palettes + layout::PALETTE_ENTRIES as u64 * palette,
                first_chunk,
                chunk_count: chunks as u32,
                chunk_size_log2: payload.chunk_size_log2().into(),
                kind: kind_of(coded.encoding).into(),
                field: coded.number as u8,
                field_count: forms.coded_count() as u8,
                value_bits: coded.field.width() as u8,
                plain_bits: forms.plain_bits() as u8,
                ..EncodeJob::default()
            }
        })
        .collect();
    group.job_count += jobs.len() as u32;
    group.record_count = add_chunks(group.record_count, records)?;
    group.largest_log2 = group.largest_log2.max(payload.chunk_size_log2().into());
    let huffman = u32::from(layout::KIND_HUFFMAN);
    group.has_codes |= jobs.iter().any(|job| job.kind == huffman);
    Ok(jobs)
}

/// The sum of two counts of blocks.
pub(super) fn add_chunks(before: u32, more: u64) -> Result<u32, GpuError> {
    let sum = u64::from(before) + more;
    match sum <= MOST_CHUNKS.into() {
        true => Ok(sum as u32),
        false => Err(GpuError::TooManyChunks(sum)),
    }
}

/// Bytes of the plain plane and of the zeros up to the next part; with block checksums, up to a
/// multiple of 16.
fn plain_limit(payload: &Payload) -> u64 {
    match payload.block_count() {
        0 => payload.palettes().offset - payload.start(),
        _ => payload.plain().length.next_multiple_of(16),
    }
}

/// Greatest size of an encoded tensor in device memory, in bytes, whatever forms its fields get.
/// The output of an [`EncodeBatch`](crate::EncodeBatch) must have this size.
///
/// # Panics
/// If the chunk size is not 12 to 16.
pub fn longest_payload_bytes(dtype: Dtype, weights: u64, chunk_size_log2: u8) -> u64 {
    assert!(limits::CHUNK_SIZE_LOG2.contains(&chunk_size_log2));
    // A verbatim record is this much longer than the plain bits that it replaces.
    const RECORD_EXCESS: u64 = 32;
    /// Padding between all parts together.
    const PADDING: u64 = 512;
    let data_bytes = weights * dtype.weight_bytes() as u64;
    let chunks = weights.div_ceil(1 << chunk_size_log2);
    let of_field = layout::PALETTE_ENTRIES as u64 + chunks * (RECORD_END_BYTES + RECORD_EXCESS);
    let block_checksums = BLOCK_CHECKSUM_BYTES * data_bytes.div_ceil(BLOCK_BYTES);
    data_bytes + block_checksums + of_field * dtype.fields().len() as u64 + PADDING
}

#[cfg(test)]
mod tests {
    use unweight_format::Form;
    use unweight_format::layout::FIELDS;

    use super::*;

    #[test]
    fn no_payload_is_longer_than_the_longest() {
        for &dtype in Dtype::ALL {
            for chosen in 0..1u32 << (2 * dtype.fields().len().min(3)) {
                let forms = (0..FIELDS).try_fold(Forms::raw(dtype), |forms, number| {
                    let form = match number < 3 {
                        true => Form::from_code((chosen >> (2 * number) & 3) as u8).unwrap(),
                        false if number < dtype.fields().len() => Form::Huffman,
                        false => Form::Plain,
                    };
                    forms.with(number, form)
                });
                let Ok(forms) = forms else { continue };
                for weights in [1, 255, 256, 4_095, 4_097, 65_536, 300_001, 1 << 33] {
                    for chunk_size_log2 in limits::CHUNK_SIZE_LOG2 {
                        let tensor = PlannedTensor {
                            forms,
                            constant_bits: 0,
                            weights,
                            chunk_size_log2,
                            source: 0,
                            output: 0,
                        };
                        let longest = longest_payload_bytes(dtype, weights, chunk_size_log2);
                        assert!(tensor.payload().unwrap().end() <= longest, "{forms:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn chunks_are_counted_by_as_many_warps_as_a_device_has_room_for() {
        assert_eq!(count_threads(12, 1, 132), 8 * WARP);
        assert_eq!(count_threads(15, 1_792, 132), 2 * WARP);
        assert_eq!(count_threads(16, 1_000_000, 132), 4 * WARP);
        assert_eq!(count_threads(13, u32::MAX, 132), WARP);
    }

    #[test]
    fn memory_of_jobs_does_not_overlap() {
        let of = |dtype: Dtype, bits: u32, weights: u64| PlannedTensor {
            forms: Forms::from_bits(dtype, bits).unwrap(),
            constant_bits: 0,
            weights,
            chunk_size_log2: 12,
            source: 16,
            output: 1 << 40,
        };
        let tensors = [
            of(Dtype::Bf16, 0x001, 40_000),
            of(Dtype::F32, 0x133_111, 5_000_000),
            of(Dtype::F8E4M3, 0x03, 100),
            of(Dtype::Bf16, 0, 100),
            of(Dtype::Bf16, 0x111, 1),
        ];
        let (mut scratch, mut zeroed) = (Division::new(1 << 20), Division::new(1 << 30));
        let jobs = place_jobs(&tensors, Sources::Weights, &mut scratch, &mut zeroed).unwrap();
        assert_eq!(jobs.direct.job_count, 1);
        assert_eq!(jobs.of_values.job_count, 4 + 3);
        assert_eq!(jobs.splits.len(), 3);
        let mut places = vec![(jobs.tensor_codes, 8 * jobs.encode.len() as u64)];
        for job in &jobs.encode {
            let chunks = u64::from(job.chunk_count);
            places.extend([
                (job.counts, 1024 * chunks),
                (job.totals, TOTAL_BYTES),
                (job.palette_counts, 64 * chunks),
                (job.code_lengths, 8 * chunks),
            ]);
            if job.field == 0 {
                places.push((job.look_back, 8 * chunks * u64::from(job.field_count)));
            }
            if job.values != 0 {
                places.push((job.values, job.weight_count));
            }
            if job.plain_remainders != 0 {
                places.push((job.plain_remainders, 4 * chunks));
            }
        }
        places.sort_unstable();
        for pair in places.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
            assert_eq!(pair[1].0 % 256, 0);
        }
        assert!((1 << 20) + scratch.used() <= 1 << 30);
        let (at, bytes) = *places.last().unwrap();
        assert!(at + bytes <= (1 << 30) + zeroed.used());
    }
}
