//! Matmuls on a GPU. Without one, this says that it was skipped: see `main`.

mod matmul;

#[path = "../../../unweight-gpu/benches/files/mod.rs"]
mod files;

use std::sync::Arc;

use unweight_gpu::Device;
use unweight_gpu::cudarc::driver::CudaStream;

pub(crate) struct OnAGpu {
    pub(crate) device: Device,
    pub(crate) stream: Arc<CudaStream>,
}

type Test = (&'static str, fn(&OnAGpu));

const TESTS: [Test; 14] = [
    (
        "fragment_form_is_the_pure_functions",
        matmul::fragment_form_is_the_pure_functions,
    ),
    (
        "matmuls_are_as_near_as_fp32_sums_allow",
        matmul::matmuls_are_as_near_as_fp32_sums_allow,
    ),
    (
        "matmuls_that_take_many_launches_are_as_near",
        matmul::matmuls_that_take_many_launches_are_as_near,
    ),
    (
        "every_kernel_gives_the_same_where_sums_are_exact",
        matmul::every_kernel_gives_the_same_where_sums_are_exact,
    ),
    (
        "weights_that_are_no_numbers_reach_their_rows_alone",
        matmul::weights_that_are_no_numbers_reach_their_rows_alone,
    ),
    (
        "sums_are_made_in_one_order",
        matmul::sums_are_made_in_one_order,
    ),
    (
        "errors_are_no_larger_than_cublas_s",
        matmul::errors_are_no_larger_than_cublas_s,
    ),
    (
        "a_whole_decode_is_cublas_to_the_bit",
        matmul::a_whole_decode_is_cublas_to_the_bit,
    ),
    (
        "many_matmuls_in_a_row_are_those_of_each_alone",
        matmul::many_matmuls_in_a_row_are_those_of_each_alone,
    ),
    (
        "matmuls_of_planes_are_as_near_as_fp32_sums_allow",
        matmul::matmuls_of_planes_are_as_near_as_fp32_sums_allow,
    ),
    (
        "coded_matrices_multiply_as_others_do",
        matmul::coded_matrices_multiply_as_others_do,
    ),
    (
        "a_sequence_is_its_matmuls",
        matmul::a_sequence_is_its_matmuls,
    ),
    (
        "what_does_not_fit_is_an_error",
        matmul::what_does_not_fit_is_an_error,
    ),
    (
        "a_workspace_is_not_made_during_a_capture",
        matmul::a_workspace_is_not_made_during_a_capture,
    ),
];

/// Tests as a list, because a harness counts a test that returns early as passed. Arguments choose
/// the tests whose names contain one of them.
fn main() {
    let device = match Device::open(0) {
        Ok(device) => device,
        Err(error) => {
            println!("skipped, all of it: {error}");
            return;
        }
    };
    let stream = device.stream().unwrap();
    let gpu = OnAGpu { device, stream };
    let mut tests = TESTS.to_vec();
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    tests.retain(|(name, _)| chosen.is_empty() || chosen.iter().any(|part| name.contains(part)));
    for (name, test) in &tests {
        test(&gpu);
        println!("{name}: ok");
    }
    println!("{} passed on {}", tests.len(), gpu.device.name().unwrap());
}
