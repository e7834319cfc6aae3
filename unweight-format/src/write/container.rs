//! Writes a container, tensor by tensor (section 3).

use alloc::vec;
use alloc::vec::Vec;

use crate::error::Rule;
use crate::extension::Extension;
use crate::form::Forms;
use crate::layout;
use crate::limits;
use crate::palettes::Palettes;
use crate::payload::Payload;
use crate::source_kind::SourceKind;
use crate::write::directory::{Outcome, by_name, directory_bytes, write_directory};
use crate::write::extension::write_extensions;
use crate::write::file_header::FileHeaderFields;
use crate::write::{CodedWriter, Declaration, Misuse, PlainWriter, RawWriter, Sink, WriteError};

/// Writes a container: [`new`](ContainerWriter::new), then [`coded`](ContainerWriter::coded),
/// [`plain`](ContainerWriter::plain) or [`raw`](ContainerWriter::raw) for each tensor in the order
/// of the declarations, then [`finish`](ContainerWriter::finish).
///
/// The header is written last, so an unfinished output is not a container. The writer of a tensor
/// that is dropped before its `finish` leaves the tensor unwritten. The tensor can then be begun
/// again, also in other forms.
#[derive(Debug)]
pub struct ContainerWriter<'a, S> {
    pub(super) sink: S,
    declarations: Vec<Declaration<'a>>,
    by_name: Vec<u32>,
    pub(super) outcomes: Vec<Outcome>,
    source_kind: SourceKind,
    source_length: u64,
    source_checksum: u32,
    extension_length: u32,
    extension_checksum: u32,
    directory_length: u64,
    pub(super) payload_end: u64,
}

/// A tensor that is begun.
pub(super) struct Begun {
    pub(super) number: u32,
    pub(super) payload: Payload,
}

impl<'a, S: Sink> ContainerWriter<'a, S> {
    /// Begins a container of the declared tensors with the given source section.
    ///
    /// # Errors
    /// The rules on names, shapes, types and limits, if a declaration breaks one; `source-length`.
    pub fn new(
        sink: S,
        source_kind: SourceKind,
        source: &[u8],
        declarations: Vec<Declaration<'a>>,
    ) -> Result<Self, WriteError<S::Error>> {
        ContainerWriter::with_extensions(sink, source_kind, source, &[], declarations)
    }

    /// Same as [`new`](ContainerWriter::new), with these extension items. A canonical encoder
    /// writes none.
    ///
    /// # Errors
    /// The errors of [`new`](ContainerWriter::new); `limit-extensions`.
    pub fn with_extensions(
        mut sink: S,
        source_kind: SourceKind,
        source: &[u8],
        extensions: &[Extension<'_>],
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
        let Some(extensions) = write_extensions(extensions) else {
            return broken(Rule::LimitExtensions);
        };
        let by_name = by_name(&declarations);
        for pair in by_name.windows(2) {
            if declarations[pair[0] as usize].name == declarations[pair[1] as usize].name {
                return Err(WriteError::Rule(Rule::NameDuplicate, Some(pair[1])));
            }
        }

        let source_offset = layout::FILE_HEADER_BYTES + directory_length;
        sink.write_at(source_offset, source)
            .map_err(WriteError::Sink)?;
        let extension_offset = source_offset + source_length;
        if !extensions.is_empty() {
            sink.write_at(extension_offset, &extensions)
                .map_err(WriteError::Sink)?;
        }
        let extension_end = extension_offset + extensions.len() as u64;
        let payload_start = extension_end.next_multiple_of(layout::PAYLOAD_ALIGNMENT);
        write_zeros(&mut sink, extension_end, payload_start)?;
        Ok(ContainerWriter {
            sink,
            by_name,
            outcomes: Vec::with_capacity(declarations.len()),
            declarations,
            source_kind,
            source_length,
            source_checksum: crate::crc32(source),
            extension_length: extensions.len() as u32,
            extension_checksum: crate::crc32(&extensions),
            directory_length,
            payload_end: payload_start,
        })
    }

    /// The next tensor to be written.
    pub fn next_tensor(&self) -> Option<&Declaration<'a>> {
        self.declarations.get(self.outcomes.len())
    }

    /// Begins the next tensor as one with coded fields, in chunks of 2^`chunk_size_log2` weights.
    ///
    /// # Errors
    /// `form-empty`, `limit-coded`, `chunk-size`; [`Misuse::NoTensorLeft`]; [`Misuse::OtherDtype`]
    /// if the palettes are those of another type; [`Misuse::PlainIsNotCoded`] if no field is coded.
    pub fn coded(
        &mut self,
        palettes: &Palettes,
        chunk_size_log2: u8,
    ) -> Result<CodedWriter<'_, 'a, S>, WriteError<S::Error>> {
        CodedWriter::begin(self, palettes, chunk_size_log2)
    }

    /// Begins the next tensor as one with plain and constant fields alone.
    ///
    /// # Errors
    /// `form-empty`; [`Misuse::NoTensorLeft`]; [`Misuse::OtherDtype`] if the palettes are those of
    /// another type; [`Misuse::CodedIsNotPlain`] if a field is coded.
    pub fn plain(
        &mut self,
        palettes: &Palettes,
    ) -> Result<PlainWriter<'_, 'a, S>, WriteError<S::Error>> {
        PlainWriter::begin(self, palettes)
    }

    /// Begins the next tensor as a raw one, with plain fields alone.
    ///
    /// # Errors
    /// [`Misuse::NoTensorLeft`].
    pub fn raw(&mut self) -> Result<RawWriter<'_, 'a, S>, WriteError<S::Error>> {
        RawWriter::begin(self)
    }

    /// The declaration of the next tensor.
    pub(super) fn declaration(&self) -> Result<Declaration<'a>, Misuse> {
        let declared = self.declarations.len() as u32;
        let next = self.next_tensor().copied();
        next.ok_or(Misuse::NoTensorLeft { declared })
    }

    /// The next tensor with these forms.
    pub(super) fn begin_tensor(
        &self,
        forms: Forms,
        chunk_size_log2: u8,
    ) -> Result<Begun, WriteError<S::Error>> {
        let declaration = self.declaration()?;
        let (declared, found) = (declaration.dtype, forms.dtype());
        if declared != found {
            return Err(WriteError::Misuse(Misuse::OtherDtype { found, declared }));
        }
        let number = self.outcomes.len() as u32;
        let weights = declaration.weights().unwrap_or(0);
        let placed = Payload::place(self.payload_end, forms, weights, chunk_size_log2);
        let payload = placed.map_err(|rule| WriteError::Rule(rule, Some(number)))?;
        // An offset of at most 2^63 leaves room for the guard and the next tensor.
        match payload.end() < u64::MAX / 2 {
            true => Ok(Begun { number, payload }),
            false => Err(WriteError::Misuse(Misuse::ContainerTooLong)),
        }
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
            extension_length: self.extension_length,
            extension_checksum: self.extension_checksum,
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

/// Writes the palettes and the padding before them, and returns their checksum.
pub(super) fn write_palettes<S: Sink>(
    sink: &mut S,
    payload: &Payload,
    palettes: &Palettes,
) -> Result<u32, WriteError<S::Error>> {
    let extent = payload.palettes();
    write_zeros(sink, payload.block_checksums().end(), extent.offset)?;
    let bytes: Vec<u8> = palettes.stored().flatten().collect();
    if !bytes.is_empty() {
        sink.write_at(extent.offset, &bytes)
            .map_err(WriteError::Sink)?;
    }
    Ok(crate::crc32(&bytes))
}
