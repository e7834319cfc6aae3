//! From one encoding to the other (section 11.8): chunk by chunk, in memory.

use unweight_format::write::{ContainerWriter, Sink};
use unweight_format::{CodedPlanes, Encoding, Payload, RecordEnds, Tensor, weight};

use crate::encode::{EncodedChunk, TransferError, checksum_of, to_bytes, write_chunks};
use crate::reference::{ExponentCounts, TensorPlan, decode_exponents, encode_exponents};
use crate::{Container, Executor, ReadError, Storage, decode_tensor};

/// Writes `tensor` of `container` as the next tensor of `writer`, in this encoding if it is coded and that saves space, otherwise raw.
/// Every checksum that the tensor has is verified on the way.
///
/// # Errors
/// [`TransferError`].
pub fn transcode_tensor<R, S>(
    container: &Container<'_, R>,
    tensor: &Tensor<'_>,
    encoding: Encoding,
    writer: &mut ContainerWriter<'_, S>,
    executor: &impl Executor,
) -> Result<(), TransferError<S::Error>>
where
    R: Storage + ?Sized,
    S: Sink<Error: Send>,
{
    if let Payload::Coded(planes) = tensor.payload() {
        let named = |error: ReadError| error.of_tensor(tensor.name());
        let ends = container.record_ends(planes)?;
        let chunks = CodedChunks {
            container,
            planes,
            ends: RecordEnds::parse(planes, &ends).map_err(|error| named(error.into()))?,
        };
        let counts = chunks.count_exponents(executor).map_err(named)?;
        let plan = TensorPlan::new(&counts, encoding);
        let coded = writer.coded(plan.parameters(planes.chunk_size_log2()))?;
        let encode = |number| Ok(chunks.encode(number, &plan).map_err(named)?);
        if write_chunks(coded, planes.chunk_count(), encode, Some(tensor), executor)? {
            return Ok(());
        }
    }
    let mut raw = writer.raw()?;
    decode_tensor(container, tensor, executor, |bytes| {
        raw.write(bytes).map_err(TransferError::Write)
    })?;
    Ok(raw.finish()?)
}

/// The chunks of a coded tensor.
struct CodedChunks<'a, R: ?Sized> {
    container: &'a Container<'a, R>,
    planes: &'a CodedPlanes,
    ends: RecordEnds<'a>,
}

impl<R: Storage + ?Sized> CodedChunks<'_, R> {
    /// The exponents and the sign-mantissa bytes of chunk `number`.
    fn decode(&self, number: u64) -> Result<(Vec<u8>, Vec<u8>), ReadError> {
        let shape = self.planes.chunk(number);
        let record = self.ends.record(number);
        self.container
            .with_record(self.planes, &shape, record, |record, sign_mantissa| {
                let mut exponents = Vec::new();
                let palette = self.planes.palette();
                decode_exponents(record, palette, sign_mantissa.len(), &mut exponents)?;
                Ok::<_, unweight_format::Error>((exponents, sign_mantissa.to_vec()))
            })
    }

    fn count_exponents(&self, executor: &impl Executor) -> Result<ExponentCounts, ReadError> {
        let mut counts = ExponentCounts::default();
        executor.in_order(
            self.planes.chunk_count(),
            |number| {
                let mut counts = ExponentCounts::default();
                counts.add_exponents(&self.decode(number)?.0);
                Ok::<_, ReadError>(counts)
            },
            |of_chunk| {
                counts.merge(&of_chunk);
                Ok(())
            },
        )?;
        Ok(counts)
    }

    fn encode(&self, number: u64, plan: &TensorPlan) -> Result<EncodedChunk, ReadError> {
        let (exponents, sign_mantissa) = self.decode(number)?;
        let mut record = Vec::new();
        encode_exponents(plan, &exponents, &sign_mantissa, &mut record);
        let parts = sign_mantissa.iter().zip(&exponents);
        let weights: Vec<_> = parts.map(|(&sm, &exponent)| weight(sm, exponent)).collect();
        Ok(EncodedChunk {
            sign_mantissa,
            record,
            checksum: checksum_of(&to_bytes(&weights)),
        })
    }
}
