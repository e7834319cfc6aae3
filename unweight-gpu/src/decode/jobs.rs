//! Jobs of a decoding batch: which kernel decodes which tensor, and the numbers of all chunks.

use cudarc::driver::DevicePtr;
use unweight_format::{Forms, Payload, layout};

use super::input::Kind;
use super::job::{BYTES_CHUNK_LOG2, TensorJob, has_coded_exponent};
use super::plan::{FIELD_BYTES, TABLE_BYTES, stage_bytes};
use super::status::{BadChunk, Report};
use super::{DecodeTask, DeviceTensor};
use crate::checksum::TensorChunks;
use crate::memory::{Handover, require_context};
use crate::{Device, GpuError, MOST_CHUNKS};

/// The elements of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    Weights,
    Exponents,
}

/// The kernel that decodes a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Weights of BF16 tensors of which the exponent alone is coded.
    Bf16,
    /// The exponents of BF16 tensors.
    Exponents,
    /// Weights of any forms; the binary logarithm of their bytes.
    Fields(u8),
}

impl Class {
    fn of(payload: &Payload, elements: Elements) -> Class {
        match elements {
            Elements::Exponents => {
                assert!(
                    has_coded_exponent(payload),
                    "a tensor of {:?}, expected BF16 with a coded exponent",
                    payload.forms()
                );
                Class::Exponents
            }
            Elements::Weights if payload.forms().is_bf16_exponent() => Class::Bf16,
            Elements::Weights => {
                let weight_bytes = payload.forms().dtype().weight_bytes();
                Class::Fields(weight_bytes.ilog2() as u8)
            }
        }
    }
}

/// One launch of the decoder: the tensors of a class. Their jobs and chunks are consecutive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassLaunch {
    pub(crate) class: Class,
    pub(crate) first_job: u32,
    pub(crate) job_count: u32,
    pub(crate) first_chunk: u32,
    pub(crate) chunk_count: u32,
    pub(crate) stage_bytes: u32,
    /// The most coded fields of a tensor.
    pub(crate) most_fields: u32,
}

impl ClassLaunch {
    /// Shared memory of a warp beside its stage.
    pub(crate) const fn table_bytes(&self) -> u32 {
        table_bytes(self.class, self.most_fields)
    }
}

/// Shared memory of a warp for tables of this many fields.
pub(crate) const fn table_bytes(class: Class, fields: u32) -> u32 {
    match class {
        Class::Bf16 | Class::Exponents => TABLE_BYTES,
        Class::Fields(_) => fields * FIELD_BYTES,
    }
}

/// The copy of a raw tensor.
#[derive(Debug)]
pub(crate) struct RawCopy {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) bytes: u64,
}

/// Chunks or blocks that a kernel checks.
#[derive(Debug)]
pub(super) struct CheckedChunks {
    /// The index of the tensor in the batch.
    tensor: usize,
    first_chunk: u32,
    skipped_chunks: u32,
    forms: Forms,
}

/// The jobs of a batch. Chunks that are decoded come first, then the chunks of copies, then blocks.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) jobs: Vec<TensorJob>,
    pub(crate) launches: Vec<ClassLaunch>,
    pub(super) copies: Vec<RawCopy>,
    /// The outputs in the caller's order.
    pub(crate) tensors: Vec<TensorChunks>,
    /// Jobs and chunks that are decoded.
    pub(crate) decoded: JobRange,
    /// Jobs of blocks, and the blocks.
    pub(crate) blocks: JobRange,
    /// By first chunk.
    checked: Vec<CheckedChunks>,
}

/// Consecutive jobs, and their consecutive chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobRange {
    pub(crate) first_job: u32,
    pub(crate) job_count: u32,
    pub(crate) first_chunk: u32,
    pub(crate) chunk_count: u32,
}

impl Jobs {
    /// The tensor, chunk and field of a report.
    pub(crate) fn bad_chunk(&self, report: Report) -> BadChunk {
        let chunk = report.chunk_in_launch;
        let number = (self.checked).partition_point(|checked| checked.first_chunk <= chunk) - 1;
        let checked = &self.checked[number];
        let coded = checked.forms.coded_field(report.coded_field);
        BadChunk {
            tensor: checked.tensor,
            chunk: (chunk - checked.first_chunk + checked.skipped_chunks).into(),
            field: coded.map(|coded| coded.field_number),
            rule: report.rule,
        }
    }

    /// The most coded fields of a tensor.
    pub(crate) fn most_fields(&self) -> u32 {
        let fields = self.launches.iter().map(|launch| launch.most_fields);
        fields.max().unwrap_or(0)
    }

    /// The greatest stage of a launch.
    pub(super) fn stage_bytes(&self) -> u32 {
        let stages = self.launches.iter().map(|launch| launch.stage_bytes);
        stages.max().unwrap_or(0)
    }
}

/// A job without its place in the launch.
#[derive(Debug)]
struct Pending {
    /// The index of the tensor in the batch.
    tensor: usize,
    job: TensorJob,
    chunk_count: u64,
    forms: Forms,
}

/// A tensor that a kernel decodes.
#[derive(Debug)]
struct PendingDecode {
    class: Class,
    pending: Pending,
    longest_records_bytes: u64,
    chunk_weights: u64,
}

/// Chunks of a tensor to decode, as [`TensorJob`] states them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodeChunks {
    /// A job that has no place in the launch yet.
    pub(crate) job: TensorJob,
    /// The weights and chunks that are decoded.
    pub(crate) weights: u64,
    pub(crate) chunk_count: u64,
    /// The longest records of a chunk of the tensor.
    pub(crate) longest_records_bytes: u64,
}

/// Jobs while they are listed. Nothing here needs a GPU.
#[derive(Debug)]
pub(crate) struct JobList {
    elements: Elements,
    decoded: Vec<PendingDecode>,
    /// Outputs of copies.
    copied: Vec<Pending>,
    blocks: Vec<Pending>,
    copies: Vec<RawCopy>,
    tensors: Vec<TensorChunks>,
}

impl JobList {
    pub(crate) fn new(elements: Elements) -> JobList {
        JobList {
            elements,
            decoded: vec![],
            copied: vec![],
            blocks: vec![],
            copies: vec![],
            tensors: vec![],
        }
    }

    fn element_bytes(&self, payload: &Payload) -> u64 {
        match self.elements {
            Elements::Weights => payload.forms().dtype().weight_bytes() as u64,
            Elements::Exponents => 1,
        }
    }

    /// Adds the next tensor, or chunks of it, which a kernel decodes.
    pub(crate) fn decode(&mut self, payload: &Payload, chunks: DecodeChunks) {
        let log2 = chunks.job.chunk_size_log2;
        let number = self.tensors.len();
        let element_bytes = self.element_bytes(payload);
        let tensor = TensorChunks::of_weights(chunks.weights, element_bytes, log2, 0);
        self.tensors.push(tensor);
        self.decoded.push(PendingDecode {
            class: Class::of(payload, self.elements),
            pending: Pending {
                tensor: number,
                job: chunks.job,
                chunk_count: chunks.chunk_count,
                forms: payload.forms(),
            },
            longest_records_bytes: chunks.longest_records_bytes,
            chunk_weights: payload.weights().min(1 << log2),
        });
    }

    /// Adds the next tensor, or bytes of it, which is copied to `to` by others.
    pub(crate) fn copied(&mut self, to: u64, bytes: u64) {
        assert_eq!(
            self.elements,
            Elements::Weights,
            "raw tensors have no exponent plane"
        );
        let of_bytes = TensorChunks::of_bytes(bytes, BYTES_CHUNK_LOG2, 0);
        self.copied.push(Pending {
            tensor: self.tensors.len(),
            job: TensorJob::of_bytes(to, bytes, 0),
            chunk_count: of_bytes.count(),
            forms: Forms::raw(unweight_format::Dtype::U8),
        });
        self.tensors.push(of_bytes);
    }

    /// Adds blocks of the next tensor: those of `bytes` bytes of its plain plane at `plain`, whose
    /// checksums are at `checksums`.
    pub(crate) fn blocks(&mut self, payload: &Payload, plain: u64, bytes: u64, checksums: u64) {
        const { assert!(layout::BLOCK_BYTES == 1 << BYTES_CHUNK_LOG2) };
        self.blocks.push(Pending {
            tensor: self.tensors.len(),
            job: TensorJob::of_blocks(plain, bytes, checksums, 0),
            chunk_count: bytes.div_ceil(layout::BLOCK_BYTES),
            forms: payload.forms(),
        });
    }

    /// The jobs of all tensors, in the order of their launches.
    pub(crate) fn finish(mut self) -> Result<Jobs, GpuError> {
        // Jobs of a class keep the caller's order.
        self.decoded.sort_by_key(|decode| decode.class);
        let decoded = self.decoded.iter().map(|decode| decode.pending.chunk_count);
        let others = self.copied.iter().chain(&self.blocks);
        let chunk_count = decoded.chain(others.map(|other| other.chunk_count)).sum();
        if chunk_count > MOST_CHUNKS.into() {
            return Err(GpuError::TooManyChunks(chunk_count));
        }

        let launches = launches(&self.decoded);
        let mut numbered = Numbered {
            jobs: vec![],
            checked: vec![],
            next_chunk: 0,
        };
        let decoded = self.decoded.into_iter().map(|decode| decode.pending);
        let decoded = numbered.add(decoded, Some(&mut self.tensors));
        numbered.add(self.copied.into_iter(), Some(&mut self.tensors));
        let blocks = numbered.add(self.blocks.into_iter(), None);
        Ok(Jobs {
            jobs: numbered.jobs,
            launches,
            copies: self.copies,
            tensors: self.tensors,
            decoded,
            blocks,
            checked: numbered.checked,
        })
    }
}

/// Adds inputs and outputs of a batch to a [`JobList`].
#[derive(Debug)]
pub(super) struct Collector<'a> {
    device: &'a Device,
    handover: &'a Handover,
    list: JobList,
}

impl Collector<'_> {
    pub(super) fn new<'a>(
        device: &'a Device,
        handover: &'a Handover,
        elements: Elements,
    ) -> Collector<'a> {
        Collector {
            device,
            handover,
            list: JobList::new(elements),
        }
    }

    /// Adds the next tensor.
    pub(super) fn add(&mut self, task: &mut DecodeTask) -> Result<(), GpuError> {
        let (context, stream) = (self.device.context(), self.handover.stream());
        match &task.input.0 {
            Kind::Coded { tensor, chunks } => {
                require_context(tensor.context(), context)?;
                let payload = tensor.payload();
                let log2 = payload.chunk_size_log2();
                let end = (chunks.end << log2).min(payload.weights());
                let weights = end - (chunks.start << log2).min(end);
                let bytes = weights * self.list.element_bytes(payload);
                let to = task.output.address(stream, context, bytes)?;
                // A tensor has at most 2^24 chunks.
                let job = job(tensor, to, chunks.start as u32);
                self.decode(tensor, job, weights, chunks.end - chunks.start);
            }
            Kind::Plain(tensor) => {
                require_context(tensor.context(), context)?;
                let bytes = tensor.data_bytes();
                let to = task.output.address(stream, context, bytes)?;
                self.check_blocks(tensor);
                let payload = tensor.payload();
                match payload.forms().is_raw() {
                    true => self.copy(tensor.addresses().plain, to, bytes),
                    false => {
                        let job = job(tensor, to, 0);
                        self.decode(tensor, job, payload.weights(), job.chunk_count());
                    }
                }
            }
            Kind::Data(memory) => {
                require_context(memory.context(), context)?;
                let bytes = memory.num_bytes() as u64;
                let to = task.output.address(stream, context, bytes)?;
                self.copy(memory.device_ptr(stream).0, to, bytes);
            }
        }
        Ok(())
    }

    fn decode(&mut self, tensor: &DeviceTensor, job: TensorJob, weights: u64, chunk_count: u64) {
        let chunks = DecodeChunks {
            job,
            weights,
            chunk_count,
            longest_records_bytes: tensor.longest_records_bytes(),
        };
        self.list.decode(tensor.payload(), chunks);
    }

    fn copy(&mut self, from: u64, to: u64, bytes: u64) {
        self.list.copied(to, bytes);
        self.list.copies.push(RawCopy { from, to, bytes });
    }

    /// Adds the blocks of the next tensor.
    fn check_blocks(&mut self, tensor: &DeviceTensor) {
        let payload = tensor.payload();
        if payload.block_count() == 0 {
            return;
        }
        let (plain, checksums) = (payload.plain(), payload.block_checksums());
        let at = tensor.addresses().plain;
        let checksums_at = at + (checksums.offset - plain.offset);
        self.list.blocks(payload, at, plain.length, checksums_at);
    }

    /// The jobs of all tensors, in the order of their launches.
    pub(super) fn finish(self) -> Result<Jobs, GpuError> {
        self.list.finish()
    }
}

/// A job that has no place in the launch yet.
fn job(tensor: &DeviceTensor, to: u64, skipped_chunks: u32) -> TensorJob {
    let (payload, at) = (tensor.payload(), tensor.addresses());
    TensorJob::new(payload, tensor.palettes(), at, to, 0, skipped_chunks)
}

/// A launch for each class.
fn launches(decoded: &[PendingDecode]) -> Vec<ClassLaunch> {
    let (mut launches, mut first_job, mut first_chunk) = (vec![], 0, 0);
    for of_class in decoded.chunk_by(|left, right| left.class == right.class) {
        let class = of_class[0].class;
        let most = |of: fn(&PendingDecode) -> u64| of_class.iter().map(of).max().unwrap_or(0);
        let most_fields = most(|decode| decode.pending.forms.coded_count() as u64) as u32;
        let chunks: u64 = of_class
            .iter()
            .map(|decode| decode.pending.chunk_count)
            .sum();
        let launch = ClassLaunch {
            class,
            first_job,
            job_count: of_class.len() as u32,
            first_chunk,
            chunk_count: chunks as u32,
            stage_bytes: stage_bytes(
                most(|decode| decode.longest_records_bytes),
                most(|decode| decode.chunk_weights),
                table_bytes(class, most_fields),
            ),
            most_fields,
        };
        first_job += launch.job_count;
        first_chunk += launch.chunk_count;
        launches.push(launch);
    }
    launches
}

/// Jobs with their places in the launch.
struct Numbered {
    jobs: Vec<TensorJob>,
    checked: Vec<CheckedChunks>,
    next_chunk: u32,
}

impl Numbered {
    /// Adds jobs. `tensors` has their outputs, if these are to be checksummed.
    fn add(
        &mut self,
        pending: impl Iterator<Item = Pending>,
        mut tensors: Option<&mut Vec<TensorChunks>>,
    ) -> JobRange {
        let (first_job, first_chunk) = (self.jobs.len() as u32, self.next_chunk);
        for pending in pending {
            let first_chunk = self.next_chunk;
            if let Some(tensors) = &mut tensors {
                tensors[pending.tensor].first_chunk = first_chunk;
            }
            self.checked.push(CheckedChunks {
                tensor: pending.tensor,
                first_chunk,
                skipped_chunks: pending.job.skipped_chunks,
                forms: pending.forms,
            });
            self.jobs.push(TensorJob {
                first_chunk,
                ..pending.job
            });
            self.next_chunk += pending.chunk_count as u32;
        }
        JobRange {
            first_job,
            job_count: self.jobs.len() as u32 - first_job,
            first_chunk,
            chunk_count: self.next_chunk - first_chunk,
        }
    }
}
