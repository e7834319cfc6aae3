//! Old content of output buffers.

use half::bf16;
use unweight::{
    ReadError,
    container::{Container, OpenFile},
};
use unweight_cpu::reference;
use unweight_format::{CodedPlanes, Payload};
use unweight_testkit::records;

use crate::edit::any_container;

/// The old content of a buffer affects neither the decoded output nor the error, and memory around
/// the buffer is not changed.
pub fn output_ignores_old_buffer(bytes: &[u8]) {
    let file = any_container(bytes);
    let Ok(open) = OpenFile::read(&file[..]) else {
        return;
    };
    let container = open.container();
    for tensor in container.directory().tensors() {
        if let Payload::Coded(planes) = tensor.payload() {
            check_chunks(&container, planes, &file);
        }
        let length = tensor.data_bytes() as usize;
        let [ones, zeros] = [0xff, 0].map(|old| {
            let mut bytes = vec![old; length];
            let verdict = container.read_bytes(&tensor, 0..length as u64, &mut bytes);
            verdict.map(|()| bytes).map_err(|error| error.to_string())
        });
        assert!(ones == zeros, "{:?}", tensor.name());
    }
}

fn check_chunks(container: &Container<'_, [u8]>, planes: &CodedPlanes, file: &[u8]) {
    for (number, record) in records(file, planes) {
        let shape = planes.chunk(number);
        let count = shape.weights as usize;
        let verdicts = [0xffff, 0x0000, 0x5aa5].map(|old| {
            const GUARD_WEIGHTS: usize = 64;
            let old = bf16::from_bits(old);
            let mut around = vec![old; count + 2 * GUARD_WEIGHTS];
            let (before, rest) = around.split_at_mut(GUARD_WEIGHTS);
            let (weights, after) = rest.split_at_mut(count);
            let verdict = container.decode_chunk(planes, &shape, record, weights);
            let is_old = |guard: &[bf16]| guard.iter().all(|word| word.to_bits() == old.to_bits());
            assert!(is_old(before) && is_old(after), "chunk {number}");
            verdict
                .map(|()| {
                    weights
                        .iter()
                        .map(|weight| weight.to_bits())
                        .collect::<Vec<_>>()
                })
                .map_err(|error| error.to_string())
        });
        assert!(
            verdicts[0] == verdicts[1] && verdicts[1] == verdicts[2],
            "chunk {number}"
        );

        let exponents =
            [vec![], vec![0xa5; 3], vec![0x5a; 2 * count + 700]].map(|mut exponents| {
                let decoded = container.with_record(planes, &shape, record, |record, _, _| {
                    reference::decode_exponents(record, planes.palette(), count, &mut exponents)
                        .map_err(ReadError::from)
                });
                decoded
                    .map(|bits| (bits, exponents))
                    .map_err(|error| error.to_string())
            });
        assert!(
            exponents[0] == exponents[1] && exponents[1] == exponents[2],
            "chunk {number}"
        );
    }
}
