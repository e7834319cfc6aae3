//! Choice of the forms of fields (section 11.2): launches, and what they return.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::CudaStream;
use unweight_format::layout::FIELDS;

use super::kernels::SampleKernels;
use super::launch::config;
use super::plan::{CHOICE_SHARED_BYTES, SAMPLE_SHARED_BYTES, SAMPLE_THREADS, add_chunks};
use super::sample::{
    ChosenForms, Differing, FieldChoices, SAMPLE_COUNT_BYTES, SampleJob, SampledForms,
    SampledTensor,
};
use crate::kernels::Launch;
use crate::memory::{DeviceBuffer, WaitAtEnd};
use crate::{Device, GpuError};

/// Chooses the forms of these tensors, whose weights are at these addresses. Waits for its
/// launches.
///
/// # Errors
/// [`GpuError::TooManyChunks`]; the errors of the driver.
///
/// # Safety
/// The weights must exist, at multiples of 16.
pub(super) unsafe fn choose_forms(
    device: &Device,
    tensors: &[(SampledTensor, u64)],
) -> Result<Vec<ChosenForms>, GpuError> {
    let kernels: Arc<SampleKernels> = device.kernels()?;
    let stream = device.own_stream();
    // SAFETY: the caller keeps the preconditions.
    let choices = unsafe { count_samples(&kernels, stream, tensors)? };
    let sampled: Vec<SampledForms> = tensors
        .iter()
        .zip(choices)
        .map(|((tensor, _), choices)| tensor.sampled_forms(choices))
        .collect();
    // SAFETY: the caller keeps the preconditions.
    let differing = unsafe { compare_weights(&kernels, stream, tensors, &sampled)? };
    let decided = sampled.iter().zip(differing);
    Ok(decided
        .map(|(forms, differing)| forms.decide(differing))
        .collect())
}

/// The choices for the tensors that need a sample.
unsafe fn count_samples(
    kernels: &SampleKernels,
    stream: &Arc<CudaStream>,
    tensors: &[(SampledTensor, u64)],
) -> Result<Vec<Option<FieldChoices>>, GpuError> {
    let (mut jobs, mut blocks) = (vec![], 0);
    for (tensor, address) in tensors.iter().filter(|(tensor, _)| tensor.needs_sample()) {
        let mut job = tensor.job(*address);
        job.first_block = blocks;
        blocks = add_chunks(blocks, job.sample_blocks())?;
        jobs.push(job);
    }
    if jobs.is_empty() {
        return Ok(vec![None; tensors.len()]);
    }
    let _waiting = WaitAtEnd(stream);
    let counts = stream.alloc_zeros::<u8>(SAMPLE_COUNT_BYTES as usize * jobs.len())?;
    let counts = DeviceBuffer::new(counts, stream);
    let choices = stream.alloc_zeros::<u32>(FIELDS * jobs.len())?;
    let choices = DeviceBuffer::new(choices, stream);
    for (number, job) in (0..).zip(&mut jobs) {
        job.counts = counts.address() + SAMPLE_COUNT_BYTES * number;
        job.choices = choices.address() + size_of::<FieldChoices>() as u64 * number;
    }
    let on_device = DeviceBuffer::new(stream.clone_htod(&jobs)?, stream);
    let job_count = jobs.len() as u32;
    let count = Launch::of(&kernels.count_sample)
        .buffer(&on_device)
        .arg(&job_count);
    let choose = Launch::of(&kernels.choose_forms).buffer(&on_device);
    let of_fields = job_count * FIELDS as u32;
    // SAFETY: the kernels' preconditions (head of sample.cu): the caller's, and those that
    // `SampledTensor::job` and the addresses above keep; the grids have the blocks of all jobs.
    unsafe {
        count.launch(stream, config(blocks, SAMPLE_THREADS, SAMPLE_SHARED_BYTES))?;
        choose.launch(
            stream,
            config(of_fields, SAMPLE_THREADS, CHOICE_SHARED_BYTES),
        )?;
    }
    let found = stream.clone_dtoh(choices.memory())?;
    stream.synchronize()?;
    let mut found = found.as_chunks::<FIELDS>().0.iter();
    let of_tensor = |(tensor, _): &(SampledTensor, u64)| match tensor.needs_sample() {
        true => found.next().copied(),
        false => None,
    };
    Ok(tensors.iter().map(of_tensor).collect())
}

/// What the weights of the undecided tensors differ in, and zeros for the others.
unsafe fn compare_weights(
    kernels: &SampleKernels,
    stream: &Arc<CudaStream>,
    tensors: &[(SampledTensor, u64)],
    sampled: &[SampledForms],
) -> Result<Vec<Differing>, GpuError> {
    let mut differing = vec![Differing::default(); tensors.len()];
    let (mut jobs, mut numbers, mut blocks): (Vec<SampleJob>, _, _) = (vec![], vec![], 0);
    for (number, (tensor, address)) in tensors.iter().enumerate() {
        if sampled[number].are_undecided() {
            let mut job = tensor.job(*address);
            job.first_block = blocks;
            blocks = add_chunks(blocks, job.differing_blocks())?;
            jobs.push(job);
            numbers.push(number);
        }
    }
    if jobs.is_empty() {
        return Ok(differing);
    }
    let _waiting = WaitAtEnd(stream);
    let words = size_of::<Differing>() / 4;
    let found = stream.alloc_zeros::<u32>(words * jobs.len())?;
    let found = DeviceBuffer::new(found, stream);
    for (number, job) in (0..).zip(&mut jobs) {
        job.differing = found.address() + size_of::<Differing>() as u64 * number;
    }
    let on_device = DeviceBuffer::new(stream.clone_htod(&jobs)?, stream);
    let job_count = jobs.len() as u32;
    let compare = Launch::of(&kernels.find_differing)
        .buffer(&on_device)
        .arg(&job_count);
    // SAFETY: as in `count_samples`.
    unsafe { compare.launch(stream, config(blocks, SAMPLE_THREADS, 0))? };
    let found = stream.clone_dtoh(found.memory())?;
    stream.synchronize()?;
    for (&number, found) in numbers.iter().zip(found.as_chunks().0) {
        differing[number] = *found;
    }
    Ok(differing)
}
