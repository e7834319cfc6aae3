//! Tests on a GPU. Without one, `main` reports that they are skipped.

mod cache;
mod decode;
mod encode;
mod forms;
mod ownership;
mod tensors;
mod transcode;

#[path = "../restore/mod.rs"]
mod restore;

use std::sync::Arc;

use cudarc::driver::CudaStream;
use restore::{Kernels, hold_to_the_corpus};
use unweight_format::{Rule, Tensor};
use unweight_gpu::{Batch, DecodeTask, Device, DeviceTensor, GpuError};
use unweight_testkit::{Listed, run_chosen};

pub(crate) struct OnAGpu {
    pub(crate) device: Device,
    pub(crate) stream: Arc<CudaStream>,
}

pub(crate) fn rule(error: GpuError) -> Rule {
    match error {
        GpuError::Rule(error) => error.rule,
        GpuError::BadChunk(bad) => bad.rule,
        other => panic!("{other}"),
    }
}

/// Byte that fills outputs before a launch, and length of the guard after them.
pub(crate) const POISON: u8 = 0xee;
pub(crate) const GUARD_BYTES: usize = 256;

impl OnAGpu {
    fn decoded(&self, tensor: &Tensor<'_>, payload: &[u8]) -> Result<(Vec<u8>, u32), GpuError> {
        let stream = &self.stream;
        let uploaded = Arc::new(DeviceTensor::upload(&self.device, tensor, payload)?);
        let bytes = tensor.data_bytes() as usize;
        let memory = stream.clone_htod(&vec![POISON; bytes + GUARD_BYTES])?;
        let mut batch = Batch::to_weights(&self.device, vec![DecodeTask::new(uploaded, memory)])?;
        batch.check_chunks(stream)?.defer_status();
        let status = batch.decode(stream)?.finish();
        let checksum = batch.checksums()?[0];
        let mut decoded = stream.clone_dtoh(&batch.into_outputs()?[0])?;
        assert!(decoded[bytes..].iter().all(|&byte| byte == POISON));
        decoded.truncate(bytes);
        status?;
        Ok((decoded, checksum))
    }
}

impl Kernels for OnAGpu {
    fn decode(&self, tensor: &Tensor<'_>, payload: &[u8]) -> Result<Vec<u8>, Rule> {
        let (decoded, checksum) = self.decoded(tensor, payload).map_err(rule)?;
        tensor
            .require_checksum(checksum)
            .map_err(|error| error.rule)?;
        Ok(decoded)
    }
}

type Test = Listed<OnAGpu>;

/// Runs a list of tests without the test harness, which counts a test that returns early as passed.
/// Arguments select the tests whose names contain one of them.
fn main() {
    let device = match Device::open(0) {
        Ok(device) => device,
        Err(error) => {
            println!("skipped every test: {error}");
            return;
        }
    };
    let stream = device.stream().unwrap();
    let gpu = OnAGpu { device, stream };
    let mut tests: Vec<Test> = vec![
        (
            "decoding_gives_the_corpus_and_the_errors_of_the_reference",
            |gpu| hold_to_the_corpus(gpu),
        ),
        (
            "decodes_every_size_around_a_step_and_a_chunk",
            decode::decodes_every_size_around_a_step_and_a_chunk,
        ),
        (
            "decodes_many_tensors_in_one_launch_and_on_many_streams",
            decode::decodes_many_tensors_in_one_launch_and_on_many_streams,
        ),
        (
            "a_range_of_chunks_decodes_to_that_part_of_the_tensor",
            decode::a_range_of_chunks_decodes_to_that_part_of_the_tensor,
        ),
        (
            "one_batch_decodes_every_type_in_all_of_its_forms",
            forms::one_batch_decodes_every_type_in_all_of_its_forms,
        ),
        (
            "a_bad_tensor_among_all_types_is_named",
            forms::a_bad_tensor_among_all_types_is_named,
        ),
        (
            "odd_records_of_every_type_decode",
            forms::odd_records_of_every_type_decode,
        ),
        (
            "a_checked_tensor_decodes_on_all_and_on_few_multiprocessors",
            forms::a_checked_tensor_decodes_on_all_and_on_few_multiprocessors,
        ),
        (
            "one_batch_decodes_a_whole_model",
            decode::one_batch_decodes_a_whole_model,
        ),
        (
            "encoding_gives_the_files_of_the_reference",
            encode::encoding_gives_the_files_of_the_reference,
        ),
        (
            "transcoding_gives_the_files_of_the_reference",
            transcode::transcoding_gives_the_files_of_the_reference,
        ),
        (
            "transcoding_the_corpus_gives_the_errors_of_the_reference",
            |gpu| hold_to_the_corpus(&transcode::Transcoding(gpu)),
        ),
        (
            "a_batch_that_is_lost_frees_nothing_that_runs",
            ownership::a_batch_that_is_lost_frees_nothing_that_runs,
        ),
        (
            "giving_memory_back_waits_for_launches",
            ownership::giving_memory_back_waits_for_launches,
        ),
        (
            "launches_on_two_streams_come_one_after_the_other",
            ownership::launches_on_two_streams_come_one_after_the_other,
        ),
        (
            "outputs_that_others_write_are_waited_for",
            ownership::outputs_that_others_write_are_waited_for,
        ),
        (
            "a_capturing_stream_is_an_error",
            ownership::a_capturing_stream_is_an_error,
        ),
        (
            "a_capture_that_begins_after_a_launch_frees_nothing",
            ownership::a_capture_that_begins_after_a_launch_frees_nothing,
        ),
        (
            "streams_and_memory_of_others_are_errors",
            ownership::streams_and_memory_of_others_are_errors,
        ),
        (
            "a_batch_keeps_its_device_and_stream",
            ownership::a_batch_keeps_its_device_and_stream,
        ),
        (
            "compiled_kernels_are_kept",
            cache::compiled_kernels_are_kept,
        ),
    ];
    let large: Test = (
        "decodes_more_than_2_to_the_31_weights",
        decode::decodes_more_than_2_to_the_31_weights,
    );
    match std::env::var_os("UNWEIGHT_LARGE_TESTS") {
        Some(_) => tests.push(large),
        None => println!("{}: skipped, UNWEIGHT_LARGE_TESTS is not set", large.0),
    }
    let passed = run_chosen(&tests, &gpu);
    println!("{passed} passed on {}", gpu.device.name().unwrap());
}
