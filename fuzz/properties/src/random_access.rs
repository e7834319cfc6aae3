//! Access to parts of tensors.

use std::ops::Range;

use half::bf16;
use unweight::container::{Container, OpenFile};
use unweight_format::{Dtype, Tensor};
use unweight_testkit::{Random, bytes_of};

use crate::container::tensor_bytes_so_far;
use crate::edit::any_container;

/// Any range of a tensor equals the same range of the whole tensor. That also holds in a damaged
/// file for the output before the error.
pub fn random_access_equals_whole(bytes: &[u8]) {
    let file = any_container(bytes);
    let mut random = Random::of(bytes);
    let Ok(open) = OpenFile::read(&file[..]) else {
        return;
    };
    let container = open.container();
    for tensor in container.directory().tensors() {
        let (whole, verdict) = tensor_bytes_so_far(&container, &tensor);
        if verdict.is_ok() {
            assert_eq!(whole.len() as u64, tensor.data_bytes());
        }
        let mut ranges = vec![0..whole.len() as u64, 0..0];
        ranges.extend((0..3).map(|_| random.range_in(whole.len() as u64)));
        for range in ranges {
            compare(&container, &tensor, range, &whole);
        }
        if verdict.is_err() {
            // After the damage, data or an error is possible. The call must only not panic.
            let left = tensor.data_bytes() - whole.len() as u64;
            let start = whole.len() as u64 + random.below(left + 1);
            let length = (tensor.data_bytes() - start).min(1000);
            let _ = container.read_bytes(
                &tensor,
                start..start + length,
                &mut vec![0; length as usize],
            );
        }
    }
}

fn compare(container: &Container<'_, [u8]>, tensor: &Tensor<'_>, range: Range<u64>, whole: &[u8]) {
    let part = |range: &Range<u64>| &whole[range.start as usize..range.end as usize];
    let mut bytes = vec![0xa5; (range.end - range.start) as usize];
    container
        .read_bytes(tensor, range.clone(), &mut bytes)
        .expect("the whole was decoded up to here");
    assert!(
        bytes == part(&range),
        "bytes {range:?} of {:?}",
        tensor.name()
    );
    if tensor.dtype() == Dtype::Bf16 {
        let weights_range = range.start / 2..range.end / 2;
        let mut weights = vec![bf16::NAN; (weights_range.end - weights_range.start) as usize];
        container
            .decode_range(tensor, weights_range.clone(), &mut weights)
            .expect("the whole was decoded up to here");
        let bytes = bytes_of(&weights);
        let range = 2 * weights_range.start..2 * weights_range.end;
        assert!(
            bytes == part(&range),
            "weights {weights_range:?} of {:?}",
            tensor.name()
        );
    }
}
