//! Reasons why a file did not become smaller.

use std::collections::BTreeSet;

use unweight::{Storage, container::Container};
use unweight_format::{Dtype, Encoding};

use crate::report::bytes;
use crate::selection::Selection;

/// Reason why a container is not shorter than its source. None if it is shorter.
pub(crate) fn why_nothing_gained<S: Storage>(
    container: &Container<'_, S>,
    selection: &Selection,
    input_bytes: u64,
) -> Option<String> {
    let output_bytes = container.header().file_length();
    if output_bytes < input_bytes {
        return None;
    }
    let tensors = || container.directory().tensors();
    let bf16 = || tensors().filter(|tensor| tensor.dtype() == Dtype::Bf16);
    let is_coded = tensors().any(|tensor| tensor.encoding() != Encoding::Raw);
    let why = if tensors().next().is_none() {
        "it has no tensors".to_owned()
    } else if bf16().next().is_none() {
        let dtypes: BTreeSet<String> = tensors().map(|tensor| tensor.dtype().to_string()).collect();
        let dtypes: Vec<String> = dtypes.into_iter().collect();
        format!("it has no BF16 tensors, but {}", dtypes.join(", "))
    } else if !bf16().any(|tensor| selection.has(tensor.name())) {
        "--include and --exclude select none of its BF16 tensors".to_owned()
    } else if is_coded {
        "its tensors are too small to make up for headers and checksums".to_owned()
    } else {
        "its BF16 tensors are too small, or their exponents too random".to_owned()
    };
    Some(why + &growth(input_bytes, output_bytes))
}

fn growth(input_bytes: u64, output_bytes: u64) -> String {
    match output_bytes - input_bytes {
        0 => String::new(),
        more => format!("; the file grew by {} bytes", bytes(more)),
    }
}
