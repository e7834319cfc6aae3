//! Writes a container, tensor by tensor (sections 3 and 4).

use alloc::vec;
use alloc::vec::Vec;

use crate::encoding::SourceKind;
use crate::error::Rule;
use crate::layout;
use crate::limits;
use crate::write::directory::{Outcome, by_name, directory_bytes, write_directory};
use crate::write::file_header::FileHeaderFields;
use crate::write::{
    CodedParameters, CodedWriter, Declaration, Misuse, RawWriter, Sink, WriteError,
};

/// Writes a container: [`new`](ContainerWriter::new), then [`coded`](ContainerWriter::coded) or
/// [`raw`](ContainerWriter::raw) for each tensor in the order of the declarations, then
/// [`finish`](ContainerWriter::finish).
///
/// The header is written last, so an unfinished output is not a container. A [`CodedWriter`] or
/// [`RawWriter`] that is dropped before its `finish` leaves its tensor unwritten. The tensor can
/// then be begun again, also in the other form.
#[derive(Debug)]
pub struct ContainerWriter<'a, S> {
    pub(super) sink: S,
    declarations: Vec<Declaration<'a>>,
    by_name: Vec<u32>,
    pub(super) outcomes: Vec<Outcome>,
    source_kind: SourceKind,
    source_length: u64,
    source_checksum: u32,
    directory_length: u64,
    pub(super) payload_end: u64,
}

impl<'a, S: Sink> ContainerWriter<'a, S> {
    /// Begins a container of the declared tensors with the given source section.
    ///
    /// # Errors
    /// The rules on names, shapes, types and limits, if a declaration breaks one; `source-length`.
    pub fn new(
        mut sink: S,
        source_kind: SourceKind,
        source: &[u8],
        declarations: Vec<Declaration<'a>>,
    ) -> Result<Self, WriteError<S::Error>> {
        let broken = |rule| Err(WriteError::Rule(rule, None));
        if declarations.len() > limits::TENSORS as usize {
            return broken(Rule::LimitTensors);
        }
        for (number, declaration) in (0..).zip(&declarations) {
            if let Some(rule) = broken_rule(declaration) {
                return Err(WriteError::Rule(rule, Some(number)));
            }
        }
        let directory_length = match directory_bytes(&declarations) {
            Some(length) if length <= limits::DIRECTORY_BYTES => length,
            _ => return broken(Rule::LimitDirectory),
        };
        let source_length = source.len() as u64;
        if source_length > limits::SOURCE_BYTES {
            return broken(Rule::LimitSource);
        }
        let fits = match source_kind {
            SourceKind::None => source_length == 0,
            SourceKind::Safetensors => source_length >= layout::SAFETENSORS_LENGTH_BYTES,
        };
        if !fits {
            return broken(Rule::SourceLength);
        }
        let by_name = by_name(&declarations);
        for pair in by_name.windows(2) {
            if declarations[pair[0] as usize].name == declarations[pair[1] as usize].name {
                return Err(WriteError::Rule(Rule::NameDuplicate, Some(pair[1])));
            }
        }

        let source_offset = layout::FILE_HEADER_BYTES + directory_length;
        sink.write_at(source_offset, source)
            .map_err(WriteError::Sink)?;
        let source_end = source_offset + source_length;
        let payload_start = source_end.next_multiple_of(layout::PLANE_ALIGNMENT);
        write_zeros(&mut sink, source_end, payload_start)?;
        Ok(ContainerWriter {
            sink,
            by_name,
            outcomes: Vec::with_capacity(declarations.len()),
            declarations,
            source_kind,
            source_length,
            source_checksum: crate::crc32(source),
            directory_length,
            payload_end: payload_start,
        })
    }

    /// The next tensor to be written.
    pub fn next_tensor(&self) -> Option<&Declaration<'a>> {
        self.declarations.get(self.outcomes.len())
    }

    /// Begins the next tensor as a coded one.
    ///
    /// # Errors
    /// `encoding-dtype`, `encoding-empty`, `limit-coded`, `chunk-size`; [`Misuse::NoTensorLeft`];
    /// [`Misuse::RawIsNotCoded`] for the encoding raw.
    pub fn coded(
        &mut self,
        parameters: CodedParameters,
    ) -> Result<CodedWriter<'_, 'a, S>, WriteError<S::Error>> {
        CodedWriter::begin(self, parameters)
    }

    /// Begins the next tensor as a raw one.
    ///
    /// # Errors
    /// [`Misuse::NoTensorLeft`].
    pub fn raw(&mut self) -> Result<RawWriter<'_, 'a, S>, WriteError<S::Error>> {
        RawWriter::begin(self)
    }

    /// The number of the next tensor, its declaration, and the offset of its payload.
    pub(super) fn begin_tensor(&self) -> Result<(u32, Declaration<'a>, u64), WriteError<S::Error>> {
        let number = self.outcomes.len();
        let declared = self.declarations.len() as u32;
        let none_left = Misuse::NoTensorLeft { declared };
        let declaration = self.declarations.get(number).ok_or(none_left)?;
        // No tensor has more than 2^59 bytes, so an offset of at most 2^63 leaves room for any.
        let start = layout::align(self.payload_end, layout::PLANE_ALIGNMENT)
            .filter(|&start| start < u64::MAX / 2)
            .ok_or(Misuse::ContainerTooLong)?;
        Ok((number as u32, *declaration, start))
    }

    /// Writes guard, directory and header, and returns the sink.
    ///
    /// # Errors
    /// [`Misuse::TensorMissing`].
    pub fn finish(mut self) -> Result<S, WriteError<S::Error>> {
        if self.next_tensor().is_some() {
            return Err(WriteError::Misuse(Misuse::TensorMissing {
                tensor: self.outcomes.len() as u32,
                declared: self.declarations.len() as u32,
            }));
        }
        let file_length = self.payload_end + layout::GUARD_BYTES;
        write_zeros(&mut self.sink, self.payload_end, file_length)?;
        // A tensor that was begun and dropped may have left bytes here.
        self.sink.truncate(file_length).map_err(WriteError::Sink)?;
        let directory = write_directory(
            &self.declarations,
            &self.by_name,
            &self.outcomes,
            self.directory_length,
        );
        self.sink
            .write_at(layout::FILE_HEADER_BYTES, &directory)
            .map_err(WriteError::Sink)?;
        let header = FileHeaderFields {
            tensor_count: self.declarations.len() as u32,
            file_length,
            directory_length: self.directory_length,
            source_length: self.source_length,
            directory_checksum: crate::crc32(&directory),
            source_checksum: self.source_checksum,
            source_kind: self.source_kind,
        };
        self.sink
            .write_at(0, &header.to_bytes())
            .map_err(WriteError::Sink)?;
        Ok(self.sink)
    }
}

/// The rule that a declaration breaks by itself.
fn broken_rule(declaration: &Declaration<'_>) -> Option<Rule> {
    if declaration.name.len() > limits::NAME_BYTES as usize {
        return Some(Rule::LimitName);
    }
    if declaration.shape.rank() > limits::RANK as usize {
        return Some(Rule::LimitRank);
    }
    let Some(elements) = declaration.element_count() else {
        return Some(Rule::LimitElements);
    };
    (!(elements * declaration.dtype.bits()).is_multiple_of(8)).then_some(Rule::TensorBits)
}

/// Writes zeros from `start` to `end`, over bytes that a dropped tensor may have left.
pub(super) fn write_zeros<S: Sink>(
    sink: &mut S,
    start: u64,
    end: u64,
) -> Result<(), WriteError<S::Error>> {
    let zeros = vec![0; (end - start) as usize];
    match zeros.is_empty() {
        true => Ok(()),
        false => sink.write_at(start, &zeros).map_err(WriteError::Sink),
    }
}
