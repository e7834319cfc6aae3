//! Launches of the encoder's kernels on fibers of the CPU, in the order of a batch, and the payloads
//! that the reference makes.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![allow(dead_code, reason = "no test uses all of it")]

use unweight_cpu::reference::{Sample, TensorPlan, count_chunk, encode_chunk, sample_ranges};
use unweight_cpu::{ChunkRecords, TensorCounts};
use unweight_format::{Dtype, Encoding, Form, Payload, layout, limits};
use unweight_gpu::host::{
    ChosenForms, Differing, Division, EncodeJob, FieldChoices, JobGroup, Jobs, PlannedTensor,
    SAMPLE_COUNT_BYTES, SampleJob, SampledTensor, Sources, SplitJob, count_threads, crc_constants,
    place_jobs,
};
use unweight_gpu::longest_payload_bytes;
// The library of this crate holds the kernels.
use unweight_gpu_host::{DeviceMemory, POISON};

#[rustfmt::skip]
unsafe extern "C" {
    fn unweight_host_count_sample(jobs: *const SampleJob, job_count: u32, blocks: u32, seed: u64);
    fn unweight_host_choose_forms(jobs: *const SampleJob, job_count: u32, seed: u64);
    fn unweight_host_find_differing(jobs: *const SampleJob, job_count: u32, blocks: u32, seed: u64);
    fn unweight_host_split(jobs: *const SplitJob, job_count: u32, chunk_count: u32, constants: *const u32, seed: u64);
    fn unweight_host_count_values(jobs: *mut EncodeJob, job_count: u32, record_count: u32, threads: u32, of_values: bool, seed: u64);
    pub(crate) fn unweight_host_choose_codes(jobs: *const EncodeJob, job_count: u32, record_count: u32, tensor_codes: *mut u8, gathers: u32, seed: u64);
    fn unweight_host_encode_chunks(jobs: *const EncodeJob, job_count: u32, record_count: u32, tensor_codes: *const u8, constants: *const u32, source: u32, seed: u64);
    pub(crate) fn unweight_host_write_record_ends(job: *const EncodeJob, seed: u64);
    fn unweight_host_palette_record_ends(jobs: *const EncodeJob, job_count: u32, chunk_count: u32, needs_fallback: *mut u32, seed: u64);
    fn unweight_host_huffman_to_palette(jobs: *const EncodeJob, job_count: u32, chunk_count: u32, stage_bytes: u32, constants: *const u32, seed: u64, status: *mut u64, needs_fallback: *mut u32);
    fn unweight_host_count_indices(jobs: *const EncodeJob, job_count: u32, chunk_count: u32, constants: *const u32, seed: u64, status: *mut u64, needs_fallback: *mut u32);
}

/// A tensor in host memory.
#[derive(Clone, Debug)]
pub(crate) struct HostTensor {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) data: Vec<u8>,
    pub(crate) chunk_size_log2: u8,
}

impl HostTensor {
    pub(crate) fn weights(&self) -> u64 {
        (self.data.len() / self.dtype.weight_bytes()) as u64
    }

    fn sampled(&self, encoding: Encoding) -> SampledTensor {
        SampledTensor {
            dtype: self.dtype,
            weights: self.weights(),
            encoding,
            chunk_size_log2: self.chunk_size_log2,
        }
    }

    fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = self.dtype.weight_bytes() << self.chunk_size_log2;
        self.data.chunks(bytes)
    }

    /// The plan of the reference's encoder.
    pub(crate) fn plan(&self, encoding: Encoding) -> TensorPlan {
        let weight_bytes = self.dtype.weight_bytes();
        let mut sample = Sample::new(self.dtype);
        for range in sample_ranges(self.weights()) {
            let (start, end) = (range.start as usize, range.end as usize);
            sample.add_weights(&self.data[weight_bytes * start..weight_bytes * end]);
        }
        let forms = sample.choose_forms(encoding, self.weights(), self.chunk_size_log2);
        let mut counts = TensorCounts::new(forms, self.chunks().count() as u64);
        for chunk in self.chunks() {
            counts.push(count_chunk(&forms, chunk));
        }
        counts.plan()
    }

    /// The widths of the fields of the verbatim records that the reference makes with this plan.
    pub(crate) fn verbatim_widths(&self, plan: &TensorPlan) -> Vec<u32> {
        let mut widths = vec![];
        for chunk in self.chunks().filter(|_| plan.forms().is_coded()) {
            let mut records = ChunkRecords::default();
            encode_chunk(plan, chunk, &mut vec![], &mut records);
            for (record, coded) in records.iter().zip(plan.forms().coded()) {
                if record[layout::record::KIND as usize] == layout::KIND_VERBATIM {
                    widths.push(coded.field.width());
                }
            }
        }
        widths
    }

    /// The payload that the reference makes with this plan, without block checksums; nothing if all
    /// fields are plain.
    pub(crate) fn payload(&self, plan: &TensorPlan) -> (Payload, Vec<u8>) {
        let forms = plan.forms();
        let planned = PlannedTensor {
            forms,
            constant_bits: 0,
            weights: self.weights(),
            chunk_size_log2: self.chunk_size_log2,
            source: 0,
            output: 0,
        };
        let longest = planned.payload().unwrap();
        if forms.is_raw() {
            return (longest, vec![]);
        }
        let (mut plain, mut records, mut ends) = (vec![], vec![], vec![]);
        for chunk in self.chunks() {
            let mut of_chunk = ChunkRecords::default();
            // Chunks of a tensor without coded fields need not begin on bytes.
            if forms.is_coded() {
                encode_chunk(plan, chunk, &mut plain, &mut of_chunk);
            }
            for record in of_chunk.iter() {
                records.extend_from_slice(record);
                ends.extend((records.len() as u32 / 16).to_le_bytes());
            }
        }
        if !forms.is_coded() {
            encode_chunk(plan, &self.data, &mut plain, &mut ChunkRecords::default());
        }
        let payload = longest.with_records_bytes(records.len() as u64).unwrap();
        let mut bytes = vec![0; payload.end() as usize];
        let palettes: Vec<u8> = plan.palettes().stored().flatten().collect();
        for (extent, part) in [
            (payload.plain(), plain),
            (payload.palettes(), palettes),
            (payload.record_ends(), ends),
            (payload.records(), records),
        ] {
            assert_eq!(extent.length, part.len() as u64);
            bytes[extent.offset as usize..][..part.len()].copy_from_slice(&part);
        }
        (payload, bytes)
    }
}

/// The forms that the kernels choose.
pub(crate) fn choose_forms(
    tensors: &[HostTensor],
    sources: &[DeviceMemory],
    encoding: Encoding,
    seed: u64,
) -> Vec<ChosenForms> {
    let of_all = tensors.iter().zip(sources);
    let job = |tensor: &HostTensor, source: &DeviceMemory| {
        let sampled = tensor.sampled(encoding);
        assert!(sampled.needs_sample() || tensor.dtype.fields().is_empty());
        sampled.job(source.address())
    };
    let mut jobs: Vec<SampleJob> = of_all.map(|(tensor, source)| job(tensor, source)).collect();
    let counts = zeros(SAMPLE_COUNT_BYTES as usize * jobs.len());
    let choices = DeviceMemory::poisoned(size_of::<FieldChoices>() * jobs.len());
    let differing = zeros(size_of::<Differing>() * jobs.len());
    let mut blocks = 0;
    for (number, job) in (0..).zip(&mut jobs) {
        job.counts = counts.address() + SAMPLE_COUNT_BYTES * number;
        job.choices = choices.address() + size_of::<FieldChoices>() as u64 * number;
        job.differing = differing.address() + size_of::<Differing>() as u64 * number;
        job.first_block = blocks;
        blocks += job.sample_blocks() as u32;
    }
    let job_count = jobs.len() as u32;
    // SAFETY: the jobs have their memory, and their blocks are numbered.
    unsafe {
        unweight_host_count_sample(jobs.as_ptr(), job_count, blocks, seed);
        unweight_host_choose_forms(jobs.as_ptr(), job_count, seed);
    }
    let mut blocks = 0;
    for job in &mut jobs {
        job.first_block = blocks;
        blocks += job.differing_blocks() as u32;
    }
    // SAFETY: as above.
    unsafe { unweight_host_find_differing(jobs.as_ptr(), job_count, blocks, seed) };
    let words = |memory: &DeviceMemory| -> Vec<u32> {
        let words = memory.bytes().as_chunks().0.iter();
        words.map(|&word| u32::from_le_bytes(word)).collect()
    };
    let (choices, differing) = (words(&choices), words(&differing));
    let of_all = choices.as_chunks().0.iter().zip(differing.as_chunks().0);
    (tensors.iter().zip(of_all))
        .map(|(tensor, (&choices, &differing))| {
            let sampled = tensor.sampled(encoding).sampled_forms(Some(choices));
            sampled.decide(differing)
        })
        .collect()
}

fn zeros(bytes: usize) -> DeviceMemory {
    DeviceMemory::of(&vec![0; bytes])
}

/// Jobs with their outputs and scratch.
pub(crate) struct Placed {
    pub(crate) jobs: Jobs,
    pub(crate) outputs: Vec<DeviceMemory>,
    _scratch: DeviceMemory,
    _zeroed: DeviceMemory,
}

/// Bytes behind an output.
const GUARD_BYTES: usize = 256;

/// Makes the jobs of tensors with these forms, whose sources have these addresses.
pub(crate) fn placed(
    tensors: &[HostTensor],
    forms: &[ChosenForms],
    addresses: &[u64],
    sources: Sources,
) -> Placed {
    let (mut outputs, mut planned) = (vec![], vec![]);
    for ((tensor, forms), &source) in tensors.iter().zip(forms).zip(addresses) {
        let log2 = tensor.chunk_size_log2;
        let longest = longest_payload_bytes(tensor.dtype, tensor.weights(), log2) as usize;
        let output = DeviceMemory::poisoned(longest + GUARD_BYTES);
        planned.push(PlannedTensor {
            forms: forms.forms,
            constant_bits: forms.constant_bits,
            weights: tensor.weights(),
            chunk_size_log2: log2,
            source,
            output: output.address(),
        });
        outputs.push(output);
    }
    let (mut scratch, mut zeroed) = (Division::new(0), Division::new(0));
    place_jobs(&planned, sources, &mut scratch, &mut zeroed).unwrap();
    let scratch = DeviceMemory::poisoned(scratch.used() as usize);
    let zeroed = zeros(zeroed.used() as usize);
    let (mut of_scratch, mut of_zeroed) = (
        Division::new(scratch.address()),
        Division::new(zeroed.address()),
    );
    Placed {
        jobs: place_jobs(&planned, sources, &mut of_scratch, &mut of_zeroed).unwrap(),
        outputs,
        _scratch: scratch,
        _zeroed: zeroed,
    }
}

impl Placed {
    /// Encodes from weights.
    pub(crate) fn encode(&mut self, seed: u64) {
        let constants = crc_constants();
        let constants = constants.as_ptr();
        let jobs = &mut self.jobs;
        let (splits, split_chunks) = (&jobs.splits, jobs.split_chunks);
        // SAFETY: `place_jobs` has given the jobs their memory.
        unsafe {
            unweight_host_split(
                splits.as_ptr(),
                splits.len() as u32,
                split_chunks,
                constants,
                seed,
            );
            for (group, of_values) in [(jobs.direct, false), (jobs.of_values, true)] {
                if group.record_count == 0 {
                    continue;
                }
                let (start, codes) = group_of(jobs, &group);
                let (count, records) = (group.job_count, group.record_count);
                // The seed selects the size of the device.
                let threads = count_threads(group.largest_log2, records, seed as u32 % 5);
                unweight_host_count_values(start, count, records, threads, of_values, seed);
                if group.has_codes {
                    unweight_host_choose_codes(start, count, records, codes, 1, seed);
                }
                let source = of_values.into();
                unweight_host_encode_chunks(start, count, records, codes, constants, source, seed);
            }
        }
    }

    /// Transcodes records, all of the other encoding, to records. Returns whether they need the
    /// fallback by weights.
    ///
    /// # Safety
    /// The sources are jobs of records of BF16 tensors of which the exponent alone is coded. Records
    /// of more than `stage_bytes` are read from device memory.
    pub(crate) unsafe fn encode_records(
        &mut self,
        to: Encoding,
        stage_bytes: u32,
        seed: u64,
        status: &mut u64,
    ) -> bool {
        let constants = crc_constants();
        let constants = constants.as_ptr();
        let group = self.jobs.direct;
        let (count, records) = (group.job_count, group.record_count);
        let (start, codes) = group_of(&mut self.jobs, &group);
        let mut fallback = 0;
        // SAFETY: the caller's, and as in `encode`.
        unsafe {
            match to {
                Encoding::Palette => {
                    unweight_host_palette_record_ends(start, count, records, &mut fallback, seed);
                    unweight_host_huffman_to_palette(
                        start,
                        count,
                        records,
                        stage_bytes,
                        constants,
                        seed,
                        status,
                        &mut fallback,
                    );
                }
                Encoding::Huffman => {
                    unweight_host_count_indices(
                        start,
                        count,
                        records,
                        constants,
                        seed,
                        status,
                        &mut fallback,
                    );
                    unweight_host_choose_codes(start, count, records, codes, 0, seed);
                    unweight_host_encode_chunks(start, count, records, codes, constants, 2, seed);
                }
            }
        }
        fallback != 0
    }

    /// Compares the outputs with the reference's payloads.
    pub(crate) fn hold_to(&self, tensors: &[HostTensor], plans: &[TensorPlan], what: &str) {
        for ((tensor, plan), output) in tensors.iter().zip(plans).zip(&self.outputs) {
            let name = format!("{}, {:?}, {what}", tensor.name, plan.forms());
            let (payload, expected) = tensor.payload(plan);
            let output = output.bytes();
            let is_poison = |bytes: &[u8]| bytes.iter().all(|&byte| byte == POISON);
            assert!(is_poison(&output[expected.len()..]), "bytes behind: {name}");
            if payload.block_count() > 0 && !expected.is_empty() {
                for extent in [payload.plain(), payload.palettes()] {
                    assert!(
                        extent.of(output) == extent.of(&expected),
                        "{extent:?}: {name}"
                    );
                }
            } else if output[..expected.len()] != expected {
                let at = output.iter().zip(&expected).position(|(a, b)| a != b);
                panic!("byte {at:?} of {payload:?} differs: {name}");
            }
        }
    }
}

/// The first job of a group, and its codes.
fn group_of(jobs: &mut Jobs, group: &JobGroup) -> (*mut EncodeJob, *mut u8) {
    let codes = jobs.tensor_codes + 8 * u64::from(group.first_job);
    let start = &mut jobs.encode[group.first_job as usize..];
    (start.as_mut_ptr(), codes as *mut u8)
}

/// The forms of a plan, as the kernels are given them.
pub(crate) fn forms_of(plan: &TensorPlan) -> ChosenForms {
    ChosenForms {
        forms: plan.forms(),
        constant_bits: plan.palettes().constant_bits(),
    }
}

/// Whether the BF16 exponent alone is coded.
pub(crate) fn is_exponent_alone(plan: &TensorPlan) -> bool {
    let forms = plan.forms();
    let is_coded = matches!(forms.form(0), Form::Huffman | Form::Palette);
    forms.dtype() == Dtype::Bf16 && is_coded && forms.palette_count() == 1
}

/// Words in memory.
pub(crate) fn little_endian(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Every chunk size in turn.
pub(crate) fn chunk_sizes() -> impl Iterator<Item = u8> + Clone {
    limits::CHUNK_SIZE_LOG2.cycle()
}
