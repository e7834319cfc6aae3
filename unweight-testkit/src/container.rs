//! Valid containers.

use half::bf16;
use unweight::Serial;
use unweight::container::{Encoder, copy_raw_tensor};
use unweight_cpu::fast::Codec;
use unweight_format::write::{ContainerWriter, Declaration, Sink};
use unweight_format::{Dtype, Encoding, Extent, Forms, SourceKind};

use crate::odd::{any_forms, write_odd, write_verbatim};
use crate::{Random, Records, Tensor, bytes_of, safetensors_json, with_header};

/// A container of these tensors, with the header of their safetensors file as source or without
/// one.
pub fn container(tensors: &[Tensor], with_source: bool) -> Vec<u8> {
    let (kind, source) = match with_source {
        true => (
            SourceKind::Safetensors,
            with_header(&safetensors_json(tensors), &[]),
        ),
        false => (SourceKind::None, Vec::new()),
    };
    let declarations = tensors.iter().map(Tensor::declaration).collect();
    let mut writer = ContainerWriter::new(Vec::new(), kind, &source, declarations)
        .expect("the tensors keep the rules");
    for tensor in tensors {
        write(&mut writer, tensor);
    }
    writer.finish().expect("all tensors were written")
}

/// A container of the tensor "w" of these weights.
pub fn container_of(weights: &[bf16], encoding: Encoding, chunk_size_log2: u8) -> Vec<u8> {
    container_by(Codec::current(), weights, encoding, chunk_size_log2)
}

/// Does the same as [`container_of`], with this codec.
pub fn container_by(
    codec: Codec,
    weights: &[bf16],
    encoding: Encoding,
    chunk_size_log2: u8,
) -> Vec<u8> {
    let shape = [weights.len() as u64];
    let mut writer = writer_of(Vec::new(), &shape);
    encode(
        codec,
        &mut writer,
        &bytes_of(weights),
        encoding,
        chunk_size_log2,
    );
    writer.finish().expect("the tensor was written")
}

/// Writes the next tensor of these bytes as `unweight::compress` does.
fn encode(
    codec: Codec,
    writer: &mut ContainerWriter<'_, Vec<u8>>,
    data: &[u8],
    encoding: Encoding,
    chunk_size_log2: u8,
) {
    let all = whole(data);
    Encoder::new(codec)
        .encode_tensor(writer, data, all, encoding, chunk_size_log2, &Serial)
        .expect("memory does not fail, and the data has the declared length");
}

fn whole(data: &[u8]) -> Extent {
    Extent {
        offset: 0,
        length: data.len() as u64,
    }
}

/// The writer of a container of one BF16 tensor "w" of this shape, without a source.
pub fn writer_of<S: Sink>(sink: S, shape: &[u64]) -> ContainerWriter<'_, S> {
    let declared = vec![Declaration::new("w", Dtype::Bf16, shape)];
    let Ok(writer) = ContainerWriter::new(sink, SourceKind::None, &[], declared) else {
        panic!("the shape {shape:?} breaks a rule, or the sink failed")
    };
    writer
}

fn write(writer: &mut ContainerWriter<'_, Vec<u8>>, tensor: &Tensor) {
    let (form, data) = (tensor.form, &tensor.data[..]);
    let (forms, seed) = match form.records {
        _ if data.is_empty() => (Forms::raw(tensor.dtype), 0),
        Records::Raw => (Forms::raw(tensor.dtype), 0),
        Records::Canonical => {
            let (codec, chunk) = (Codec::current(), form.chunk_size_log2);
            return encode(codec, writer, data, form.encoding, chunk);
        }
        Records::Verbatim => return write_verbatim(writer, tensor),
        Records::Odd { seed } => {
            let mut random = Random::new(seed);
            (any_forms(tensor, &mut random), random.bits())
        }
        Records::Forms { bits, seed } => {
            let forms = Forms::from_bits(tensor.dtype, bits);
            (forms.expect("the type can have these forms"), seed)
        }
    };
    match forms.is_raw() {
        true => copy_raw_tensor(writer, data, whole(data))
            .expect("memory does not fail, and the data has the declared length"),
        false => write_odd(writer, tensor, forms, &mut Random::new(seed)),
    }
}
