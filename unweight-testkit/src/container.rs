//! Valid containers.

use half::bf16;
use unweight::Serial;
use unweight::container::Encoder;
use unweight_cpu::fast::Codec;
use unweight_format::write::{
    CodedParameters, ContainerWriter, Declaration, RecordBody, Sink, write_record,
};
use unweight_format::{Dtype, Encoding, Palette, SourceKind, crc32, exponent, sign_mantissa};

use crate::odd::OddRecords;
use crate::{Random, Records, Tensor, safetensors_json, with_header};

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
    Encoder::new(codec)
        .encode_tensor(&mut writer, weights, encoding, chunk_size_log2, &Serial)
        .expect("memory does not fail");
    writer.finish().expect("the tensor was written")
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
    let form = tensor.form;
    if form.encoding == Encoding::Raw {
        let mut raw = writer.raw().expect("a tensor is left");
        let written = raw.write(&tensor.data).and_then(|()| raw.finish());
        return written.expect("the data has the declared length");
    }
    let weights = tensor.weights();
    let mut odd = match form.records {
        Records::Canonical => {
            return Encoder::new(Codec::current())
                .encode_tensor(
                    writer,
                    &weights[..],
                    form.encoding,
                    form.chunk_size_log2,
                    &Serial,
                )
                .expect("memory does not fail");
        }
        Records::Verbatim => None,
        Records::Odd { seed } => {
            let mut random = Random::new(seed);
            Some((OddRecords::of(form.encoding, &weights, &mut random), random))
        }
    };
    let parameters = CodedParameters {
        encoding: form.encoding,
        chunk_size_log2: form.chunk_size_log2,
        palette: match &odd {
            Some((odd, _)) => odd.palette,
            None => Palette::new(std::array::from_fn(|entry| entry as u8)).expect("it ascends"),
        },
    };
    let mut coded = writer.coded(parameters).expect("BF16, and not empty");
    for chunk in weights.chunks(1 << form.chunk_size_log2) {
        let sign_mantissa: Vec<u8> = chunk.iter().map(|&weight| sign_mantissa(weight)).collect();
        let record = match &mut odd {
            Some((odd, random)) => odd.record(chunk, &sign_mantissa, random),
            None => {
                let exponents: Vec<u8> = chunk.iter().map(|&weight| exponent(weight)).collect();
                let mut record = Vec::new();
                let body = RecordBody::Verbatim(&exponents);
                write_record(&body, &[], &sign_mantissa, &mut record);
                record
            }
        };
        coded
            .chunk(&sign_mantissa, &record)
            .expect("the record fits its chunk");
    }
    coded
        .finish(crc32(&tensor.data))
        .expect("all chunks were written");
}
