//! Old content of output buffers.

use unweight::{
    ReadError,
    container::{Container, OpenFile},
};
use unweight_cpu::reference;
use unweight_format::Tensor;

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
        check_chunks(&container, &tensor);
        let length = tensor.data_bytes() as usize;
        let [ones, zeros] = [0xff, 0].map(|old| {
            let mut bytes = vec![old; length];
            let verdict = container.read_bytes(&tensor, 0..length as u64, &mut bytes);
            verdict.map(|()| bytes).map_err(|error| error.to_string())
        });
        assert!(ones == zeros, "{:?}", tensor.name());
    }
}

fn check_chunks(container: &Container<'_, [u8]>, tensor: &Tensor<'_>) {
    let mut buffer = Vec::new();
    let Ok(index) = container.index(tensor, &mut buffer) else {
        return;
    };
    let payload = tensor.payload();
    let size = tensor.dtype().weight_bytes();
    for number in 0..payload.chunk_count() {
        let count = payload.chunk(number).weights as usize;
        let verdicts = [0xff, 0x00, 0x5a].map(|old| {
            const GUARD_BYTES: usize = 128;
            let mut around = vec![old; count * size + 2 * GUARD_BYTES];
            let (before, rest) = around.split_at_mut(GUARD_BYTES);
            let (weights, after) = rest.split_at_mut(count * size);
            let verdict = container.decode_chunk(&index, number, &mut weights[..]);
            let is_old = |guard: &[u8]| guard.iter().all(|&byte| byte == old);
            assert!(is_old(before) && is_old(after), "chunk {number}");
            verdict
                .map(|()| weights.to_vec())
                .map_err(|error| error.to_string())
        });
        assert!(
            verdicts[0] == verdicts[1] && verdicts[1] == verdicts[2],
            "chunk {number}"
        );

        let of_old = [vec![], vec![0xa5; 3], vec![0x5a; 2 * count + 700]].map(|old| {
            let decoded = container.with_records(&index, number, |records, _, _| {
                let of_fields = records.iter().enumerate().map(|(field, record)| {
                    let mut values = old.clone();
                    let palette = index.palettes().coded(field).expect("of a coded field");
                    let bits = reference::decode_values(record, palette, &mut values)?;
                    Ok::<_, ReadError>((bits, values))
                });
                of_fields.collect::<Result<Vec<_>, _>>()
            });
            decoded.map_err(|error| error.to_string())
        });
        assert!(
            of_old[0] == of_old[1] && of_old[1] == of_old[2],
            "chunk {number}"
        );
    }
}
