//! Launches of the decoder's kernels on fibers of the CPU, as a batch makes them.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![allow(dead_code, reason = "each test uses a part")]

use std::ffi::c_void;

use unweight_format::{Dtype, Palettes, Payload, RecordEnds, Rule, Tensor};
use unweight_gpu::host::{
    Addresses, FIELD_BYTES, GOOD, TABLE_BYTES, TensorJob, crc_constants, longest_records_bytes,
    read, readable_plain_bytes, stage_bytes,
};
use unweight_gpu_host::{DeviceMemory, FieldsMemory, Launch};

/// Number of the first chunk of a launch. Others may be launched before.
const FIRST_CHUNK: u32 = 3;

/// Kernels whose threads run in the order of `seed`.
pub(crate) struct OnTheCpu {
    seed: u64,
    stages: Stages,
    /// Number of blocks that share all chunks, and of warps in each. None means one block a chunk.
    few_blocks: Option<(u32, u32)>,
    constants: &'static [u32],
}

/// The size of the shared memory for records.
#[derive(Clone, Copy)]
pub(crate) enum Stages {
    AsInABatch,
    None,
}

/// A tensor in memory as on a device.
pub(crate) struct Uploaded {
    _memory: DeviceMemory,
    pub(crate) at: Addresses,
    pub(crate) palettes: Palettes,
    pub(crate) longest_records_bytes: u64,
}

impl Uploaded {
    pub(crate) fn new(tensor: &Tensor<'_>, bytes: &[u8]) -> Result<Uploaded, Rule> {
        let payload = tensor.payload();
        let of = |offset: u64| &bytes[(offset - payload.start()) as usize..];
        let rule = |error: unweight_format::Error| error.rule;
        let palettes = Palettes::parse(tensor, of(payload.palettes().offset)).map_err(rule)?;
        let longest_records_bytes = match payload.forms().is_coded() {
            true => {
                let ends = RecordEnds::parse(payload, of(payload.record_ends().offset));
                longest_records_bytes(payload, &ends.map_err(rule)?)
            }
            false => 0,
        };
        if let Some(last) = payload.plain().length.checked_sub(1) {
            let last = bytes[last as usize];
            payload.require_plain_padding(last).map_err(rule)?;
        }
        let mut readable = bytes.to_vec();
        let length = readable.len().max(readable_plain_bytes(payload) as usize);
        readable.resize(length, 0xff);
        let memory = DeviceMemory::of(&readable);
        Ok(Uploaded {
            at: Addresses::of(payload, memory.address()),
            _memory: memory,
            palettes,
            longest_records_bytes,
        })
    }
}

impl OnTheCpu {
    pub(crate) fn new(seed: u64, stages: Stages) -> OnTheCpu {
        OnTheCpu {
            seed,
            stages,
            few_blocks: None,
            constants: crc_constants(),
        }
    }

    /// Kernels by so many blocks of so many warps.
    pub(crate) fn in_few_blocks(self, blocks: u32, warps: u32) -> OnTheCpu {
        OnTheCpu {
            few_blocks: Some((blocks, warps)),
            ..self
        }
    }

    fn constants(&self) -> *const c_void {
        self.constants.as_ptr().cast()
    }

    fn launch(&self, job: &TensorJob, chunk_count: u64) -> Launch {
        Launch {
            jobs: (&raw const *job).cast(),
            job_count: 1,
            chunk_count: chunk_count as u32,
            seed: self.seed,
        }
    }

    /// Shared memory for the records of a chunk, beside the tables.
    fn stage(&self, uploaded: &Uploaded, weights: u64, table_bytes: u32) -> u32 {
        match self.stages {
            Stages::AsInABatch => stage_bytes(uploaded.longest_records_bytes, weights, table_bytes),
            Stages::None => 0,
        }
    }

    /// Decodes with this kernel. Returns the output, or the rule that the first bad chunk breaks.
    fn decode_with(
        &self,
        kernel: Kernel,
        payload: &Payload,
        uploaded: &Uploaded,
    ) -> Result<DeviceMemory, Rule> {
        let forms = payload.forms();
        let element_bytes = match kernel {
            Kernel::Exponents => 1,
            _ => forms.dtype().weight_bytes(),
        };
        let output = DeviceMemory::poisoned(payload.weights() as usize * element_bytes);
        // Few blocks decode one tensor alone.
        let few_blocks = self
            .few_blocks
            .filter(|_| !matches!(kernel, Kernel::Fields) || element_bytes == 2);
        let first_chunk = few_blocks.map_or(FIRST_CHUNK, |_| 0);
        let (palettes, at) = (&uploaded.palettes, uploaded.at);
        let job = TensorJob::new(payload, palettes, at, output.address(), first_chunk, 0);
        let chunk_count = job.chunk_count();
        let launch = self.launch(&job, chunk_count);
        let mut status = GOOD;
        // SAFETY: palettes and record ends are valid; plain plane and output are aligned and long
        // enough.
        unsafe {
            launch.check_chunks(self.constants(), &mut status);
            match kernel {
                Kernel::Weights | Kernel::Exponents => {
                    let is_exponents = matches!(kernel, Kernel::Exponents);
                    let stage = self.stage(uploaded, payload.weights(), TABLE_BYTES);
                    match few_blocks {
                        Some(few) => {
                            launch.decode_in_few_blocks(few, stage, is_exponents, &mut status);
                        }
                        None => launch.decode(stage, is_exponents, &mut status),
                    }
                }
                Kernel::Fields => {
                    // Tensors with more fields may be in the same launch.
                    let most_fields = forms.coded_count() as u32 + (self.seed % 2) as u32;
                    let tables = most_fields * FIELD_BYTES;
                    let memory = FieldsMemory {
                        stage_bytes: self.stage(uploaded, payload.weights(), tables),
                        most_fields,
                    };
                    match few_blocks {
                        Some(few) => launch.decode_fields_in_few_blocks(few, memory, &mut status),
                        None => launch.decode_fields(element_bytes as u32, memory, &mut status),
                    }
                }
            }
        }
        match read(status) {
            None => Ok(output),
            Some(bad) => {
                assert!(u64::from(bad.chunk_in_launch) < u64::from(first_chunk) + chunk_count);
                assert!(bad.coded_field < forms.coded_count());
                Err(bad.rule)
            }
        }
    }

    /// Compares the checksums of all blocks.
    fn check_blocks(&self, payload: &Payload, uploaded: &Uploaded) -> Result<(), Rule> {
        let blocks = payload.block_count();
        if blocks == 0 {
            return Ok(());
        }
        let plain = payload.plain();
        let checksums = uploaded.at.plain + (payload.block_checksums().offset - plain.offset);
        let job = TensorJob::of_blocks(uploaded.at.plain, plain.length, checksums, FIRST_CHUNK);
        let mut status = GOOD;
        // SAFETY: the plane and the checksums have these addresses.
        unsafe {
            self.launch(&job, blocks)
                .check_blocks(self.constants(), &mut status);
        }
        read(status).map_or(Ok(()), |bad| Err(bad.rule))
    }

    /// The CRC-32 of a tensor's output.
    fn checksum(&self, job: &TensorJob, bytes: u64) -> u32 {
        let chunk_bytes = job.chunk_bytes();
        let mut of_chunks = vec![0; job.chunk_count() as usize];
        if !of_chunks.is_empty() {
            let launch = self.launch(job, of_chunks.len() as u64);
            // SAFETY: the output has so many bytes.
            unsafe { launch.checksum_weights(self.constants(), &mut of_chunks) };
        }
        let mut whole = crc32fast::Hasher::new();
        for (number, &checksum) in (0..).zip(&of_chunks) {
            let bytes = (bytes - number * chunk_bytes).min(chunk_bytes);
            whole.combine(&crc32fast::Hasher::new_with_initial_len(checksum, bytes));
        }
        whole.finalize()
    }
}

#[derive(Clone, Copy, Debug)]
enum Kernel {
    /// Decodes BF16 weights of which the exponent alone is coded.
    Weights,
    Exponents,
    Fields,
}

impl OnTheCpu {
    /// The tensor's original bytes, with a check of every rule. `bytes` are those at
    /// `Payload::extent`.
    pub(crate) fn decode(&self, tensor: &Tensor<'_>, bytes: &[u8]) -> Result<Vec<u8>, Rule> {
        let payload = tensor.payload();
        let uploaded = Uploaded::new(tensor, bytes)?;
        self.check_blocks(payload, &uploaded)?;
        let require = |checksum| {
            tensor
                .require_checksum(checksum)
                .map_err(|error| error.rule)
        };
        let forms = payload.forms();
        if forms.is_raw() {
            let job = TensorJob::of_bytes(uploaded.at.plain, payload.plain().length, 0);
            require(self.checksum(&job, payload.plain().length))?;
            return Ok(bytes[..payload.plain().length as usize].to_vec());
        }
        let output = self.decode_with(Kernel::Fields, payload, &uploaded);
        if payload.forms().is_bf16_exponent() {
            let fused = self.decode_with(Kernel::Weights, payload, &uploaded);
            let bytes = |result: &Result<DeviceMemory, Rule>| match result {
                Ok(memory) => Ok(memory.bytes().to_vec()),
                Err(rule) => Err(*rule),
            };
            assert!(bytes(&output) == bytes(&fused), "{:?}", fused.err());
        }
        let output = output?;
        let to = output.address();
        let job = TensorJob::new(payload, &uploaded.palettes, uploaded.at, to, 0, 0);
        require(self.checksum(&job, tensor.data_bytes()))?;
        if forms.dtype() == Dtype::Bf16 && forms.form(0).encoding().is_some() {
            let exponents = self.decode_with(Kernel::Exponents, payload, &uploaded)?;
            let of_weights = output.bytes().as_chunks().0.iter().map(|&pair| {
                let [low, high] = pair;
                high << 1 | low >> 7
            });
            assert!(of_weights.eq(exponents.bytes().iter().copied()));
        }
        Ok(output.bytes().to_vec())
    }
}
