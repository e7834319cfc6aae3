//! Reading of tensors for a [`breakdown`](crate::breakdown).

use crc32fast::Hasher;
use unweight_cpu::fast::{Codec, Output};
use unweight_cpu::reference::{ValueCounts, decode_values};
use unweight_format::{Dtype, Error, Tensor};

use super::Container;
use super::index::TensorIndex;
use crate::breakdown::{Figures, FileBreakdown, StoredBits, TensorBreakdown};
use crate::threads::{Items, in_order};
use crate::{Executor, Purpose, ReadError, Storage};

/// The bits of the records of some chunks, and the counts of the values of all fields there, both
/// by the number of the field.
struct OfPieces {
    records: Vec<StoredBits>,
    counts: Vec<ValueCounts>,
}

impl OfPieces {
    fn none(dtype: Dtype) -> OfPieces {
        let fields = dtype.fields().len();
        OfPieces {
            records: vec![StoredBits::default(); fields],
            counts: vec![ValueCounts::default(); fields],
        }
    }

    fn merge(&mut self, other: &OfPieces) {
        for (records, more) in self.records.iter_mut().zip(&other.records) {
            *records += *more;
        }
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            counts.merge(more);
        }
    }

    fn count(&mut self, codec: Codec, dtype: Dtype, weights: &[u8]) {
        for (&field, counts) in dtype.fields().iter().zip(&mut self.counts) {
            codec.count_field(dtype, field, weights, counts);
        }
    }
}

/// What is found in one piece of a tensor.
struct OfPiece {
    found: OfPieces,
    checksum: Hasher,
}

impl<'a, S: Storage + ?Sized> Container<'a, S> {
    /// Where the bits of the file go. Reads and checks all tensors.
    ///
    /// # Errors
    /// The rules of sections 3.5, 5, 6 and 8, except those on zero padding between the parts of the
    /// file; [`ReadError::OverBudget`], [`ReadError::Io`], [`ReadError::Executor`].
    pub fn breakdown(&self, executor: &dyn Executor) -> Result<FileBreakdown<'a>, ReadError> {
        let directory = self.directory();
        let bytes = Figures::bytes(directory);
        let needed = self.held_bytes() + bytes;
        self.budget().require(Purpose::Report, needed)?;
        let container = self.beside(bytes);
        let mut figures = Figures::with_capacity(directory);
        for tensor in directory.tensors() {
            container.add_figures(&tensor, executor, &mut figures)?;
        }
        Ok(FileBreakdown::new(*self.header(), *directory, figures))
    }

    /// What the stored bits of a tensor are for. Reads and checks the whole tensor.
    ///
    /// # Errors
    /// The errors of [`Container::breakdown`].
    pub fn tensor_breakdown(
        &self,
        tensor: &Tensor<'_>,
        executor: &dyn Executor,
    ) -> Result<TensorBreakdown, ReadError> {
        let (breakdown, _) = self.counted_breakdown(tensor, executor)?;
        Ok(breakdown)
    }

    /// Does the same as [`Container::tensor_breakdown`], and returns the counts of the values of each
    /// field too.
    pub(crate) fn counted_breakdown(
        &self,
        tensor: &Tensor<'_>,
        executor: &dyn Executor,
    ) -> Result<(TensorBreakdown, Vec<ValueCounts>), ReadError> {
        let mut figures = Figures::default();
        let counts = self.add_figures(tensor, executor, &mut figures)?;
        Ok((TensorBreakdown::of_only(tensor, &figures), counts))
    }

    /// Adds the figures of a tensor, and returns the counts of the values of each field.
    fn add_figures(
        &self,
        tensor: &Tensor<'_>,
        executor: &dyn Executor,
        figures: &mut Figures,
    ) -> Result<Vec<ValueCounts>, ReadError> {
        let named = |error: ReadError| error.of_tensor(tensor.name());
        let in_work = self.chunks_in_work(tensor)?;
        let mut buffer = Vec::new();
        let index = self.index(tensor, &mut buffer).map_err(named)?;
        let mut found = OfPieces::none(tensor.dtype());
        let mut checksum = Hasher::new();
        in_order(
            executor,
            Items::new(index.piece_count()).at_most(in_work),
            |number| self.of_piece(&index, number).map_err(named),
            |piece| {
                found.merge(&piece.found);
                checksum.combine(&piece.checksum);
                Ok::<_, ReadError>(())
            },
        )?;
        tensor
            .require_checksum(checksum.finalize())
            .map_err(|error| named(error.into()))?;
        let entropies = found.counts.iter().map(ValueCounts::entropy_bits);
        let coded = tensor.forms().coded();
        let records = coded.map(|coded| found.records[coded.field_number]);
        figures.push(index.palettes(), entropies, records);
        Ok(found.counts)
    }

    fn of_piece(&self, index: &TensorIndex<'_>, number: u64) -> Result<OfPiece, ReadError> {
        let forms = index.payload().forms();
        let mut weights = vec![0; index.piece_bytes(number) as usize];
        let mut found = OfPieces::none(forms.dtype());
        let checksum = match forms.is_coded() {
            true => {
                let read = self.of_records(index, number, &mut weights, &mut found);
                read.or_else(|error| {
                    // The rules are checked in the order in which all readers check them.
                    let output = &mut Output::from(&mut weights[..]);
                    self.decode_piece(index, number, output)?;
                    Err(error)
                })?
            }
            false => self.decode_piece(index, number, &mut Output::from(&mut weights[..]))?,
        };
        found.count(self.codec(), forms.dtype(), &weights);
        let checksum = Hasher::new_with_initial_len(checksum, weights.len() as u64);
        Ok(OfPiece { found, checksum })
    }

    /// Decodes a chunk with records, which are read once, into `weights`, and adds the bits of the
    /// records to `found`. Returns the weights' CRC-32.
    fn of_records(
        &self,
        index: &TensorIndex<'_>,
        number: u64,
        weights: &mut [u8],
        found: &mut OfPieces,
    ) -> Result<u32, ReadError> {
        let forms = index.payload().forms();
        self.with_records(index, number, |records, plain, scratch| {
            let mut values = Vec::new();
            for (record, coded) in records.iter().zip(forms.coded()) {
                let palette = index.palettes().coded(coded.number);
                let palette = palette.expect("a coded field has a palette");
                let codes = decode_values(record, palette, &mut values)?;
                found.records[coded.field_number] = StoredBits::of_record(record, codes);
            }
            let mut output = Output::from(weights);
            let decoded = (self.codec()).decode_chunk(
                scratch,
                index.palettes(),
                records,
                plain,
                &mut output,
            )?;
            Ok::<_, Error>(crc32fast::hash(decoded))
        })
    }
}
