//! Matmuls on a GPU. Without one, this says that it was skipped: see `main`.

mod forms;
mod fused;
mod grouped;
mod matmul;
mod memory_of_others;

#[path = "../../benches/files/mod.rs"]
mod files;

use std::sync::Arc;

use unweight_gpu::Device;
use unweight_gpu::cudarc::driver::CudaStream;
use unweight_testkit::{Listed, run_chosen};

pub(crate) struct OnAGpu {
    pub(crate) device: Device,
    pub(crate) stream: Arc<CudaStream>,
}

type Test = Listed<OnAGpu>;

const TESTS: [Test; 29] = [
    (
        "kernels_write_fragment_form_as_the_pure_functions_do",
        matmul::kernels_write_fragment_form_as_the_pure_functions_do,
    ),
    (
        "matmuls_are_as_near_as_fp32_sums_allow",
        matmul::matmuls_are_as_near_as_fp32_sums_allow,
    ),
    (
        "matmuls_of_many_launches_are_as_near_as_fp32_sums_allow",
        matmul::matmuls_of_many_launches_are_as_near_as_fp32_sums_allow,
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
        "sums_are_added_in_the_same_order_in_every_run",
        matmul::sums_are_added_in_the_same_order_in_every_run,
    ),
    (
        "errors_are_no_larger_than_cublas_s",
        matmul::errors_are_no_larger_than_cublas_s,
    ),
    (
        "whole_decode_equals_cublas_to_the_bit",
        matmul::whole_decode_equals_cublas_to_the_bit,
    ),
    (
        "many_matmuls_in_a_row_equal_each_alone",
        matmul::many_matmuls_in_a_row_equal_each_alone,
    ),
    (
        "matmuls_of_planes_are_as_near_as_fp32_sums_allow",
        matmul::matmuls_of_planes_are_as_near_as_fp32_sums_allow,
    ),
    (
        "compressed_matrices_multiply_as_plain_ones_do",
        matmul::compressed_matrices_multiply_as_plain_ones_do,
    ),
    (
        "a_sequence_equals_its_matmuls",
        matmul::a_sequence_equals_its_matmuls,
    ),
    (
        "matrices_in_any_forms_multiply_as_plain_ones_do",
        forms::matrices_in_any_forms_multiply_as_plain_ones_do,
    ),
    (
        "matrices_that_an_encoder_wrote_multiply_from_fragments",
        forms::matrices_that_an_encoder_wrote_multiply_from_fragments,
    ),
    (
        "a_sequence_of_matrices_in_any_forms_equals_its_matmuls",
        forms::a_sequence_of_matrices_in_any_forms_equals_its_matmuls,
    ),
    (
        "a_matrix_of_another_type_or_length_is_refused",
        forms::a_matrix_of_another_type_or_length_is_refused,
    ),
    (
        "matrices_in_memory_of_others_multiply_as_owned_ones_do",
        memory_of_others::matrices_in_memory_of_others_multiply_as_owned_ones_do,
    ),
    (
        "a_bias_is_added_before_sums_are_rounded",
        memory_of_others::a_bias_is_added_before_sums_are_rounded,
    ),
    (
        "any_contents_are_multiplied_to_something",
        memory_of_others::any_contents_are_multiplied_to_something,
    ),
    (
        "a_wrong_shape_or_context_is_an_error",
        matmul::a_wrong_shape_or_context_is_an_error,
    ),
    (
        "a_workspace_is_not_made_during_a_capture",
        matmul::a_workspace_is_not_made_during_a_capture,
    ),
    (
        "a_residual_and_the_squares_of_the_sum_follow_a_matmul",
        fused::a_residual_and_the_squares_of_the_sum_follow_a_matmul,
    ),
    (
        "a_matmul_after_a_norm_scales_its_sums",
        fused::a_matmul_after_a_norm_scales_its_sums,
    ),
    (
        "a_gated_matmul_is_as_near_as_its_sums",
        fused::a_gated_matmul_is_as_near_as_its_sums,
    ),
    (
        "a_fused_matmul_of_another_size_is_an_error",
        fused::a_fused_matmul_of_another_size_is_an_error,
    ),
    (
        "grouped_matmuls_are_as_near_as_fp32_sums_allow",
        grouped::grouped_matmuls_are_as_near_as_fp32_sums_allow,
    ),
    (
        "one_expert_equals_a_matmul_to_the_bit",
        grouped::one_expert_equals_a_matmul_to_the_bit,
    ),
    (
        "a_captured_graph_follows_the_experts_on_the_device",
        grouped::a_captured_graph_follows_the_experts_on_the_device,
    ),
    (
        "a_grouped_matmul_of_another_size_is_an_error",
        grouped::a_grouped_matmul_of_another_size_is_an_error,
    ),
];

/// Tests as a list, because a harness counts a test that returns early as passed. Arguments choose
/// the tests whose names contain one of them.
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
    let passed = run_chosen(&TESTS, &gpu);
    println!("{passed} passed on {}", gpu.device.name().unwrap());
}
