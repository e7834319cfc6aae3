//! The directory (section 3.2).

use crate::error::{Error, Expected, Rule};
use crate::extent::Extent;
use crate::layout::{self, entry as field};
use crate::limits;
use crate::parse::RawEntry;
use crate::validate::file_header::truncated;
use crate::validate::tensor::Located;
use crate::validate::{FileHeader, Tensor, require_zero};

/// A directory that keeps every rule of sections 3.2, 3.5 and 4 that can be checked without the
/// payload. It borrows its bytes; looking up a tensor by number is O(1), by name O(log tensors).
#[derive(Clone, Copy, Debug)]
pub struct Directory<'a> {
    bytes: &'a [u8],
    tensor_count: u32,
    payload_start: u64,
}

/// A directory that owns its bytes.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub struct DirectoryBuf {
    bytes: alloc::boxed::Box<[u8]>,
    tensor_count: u32,
    payload_start: u64,
}

#[cfg(feature = "alloc")]
impl DirectoryBuf {
    /// Parses like [`Directory::parse`] and takes ownership of the bytes.
    ///
    /// # Errors
    /// The errors of [`Directory::parse`].
    pub fn parse(
        header: &FileHeader,
        bytes: alloc::boxed::Box<[u8]>,
    ) -> Result<DirectoryBuf, Error> {
        let Directory {
            tensor_count,
            payload_start,
            ..
        } = Directory::parse(header, &bytes)?;
        Ok(DirectoryBuf {
            bytes,
            tensor_count,
            payload_start,
        })
    }

    /// The directory. It was validated when it was parsed, so this costs nothing.
    pub fn as_directory(&self) -> Directory<'_> {
        Directory {
            bytes: &self.bytes,
            tensor_count: self.tensor_count,
            payload_start: self.payload_start,
        }
    }
}

impl<'a> Directory<'a> {
    /// The directory of a file with this header, from the bytes at [`FileHeader::directory`].
    /// Time is linear in the directory's length.
    ///
    /// # Errors
    /// The rules of section 3.2, `payload-end`, the rules of section 4 that concern directory
    /// entries, and `file-length`. `file-truncated` if `bytes` are fewer than the header states.
    pub fn parse(header: &FileHeader, bytes: &'a [u8]) -> Result<Directory<'a>, Error> {
        let extent = header.directory();
        let length = usize::try_from(extent.length).unwrap_or(usize::MAX);
        let Some(bytes) = bytes.get(..length) else {
            return Err(truncated(extent.offset + bytes.len() as u64, extent.end()));
        };
        let directory = Directory {
            bytes,
            tensor_count: header.tensor_count(),
            payload_start: header.payload_start(),
        };
        directory.require_length()?;
        Error::unless_checksum(
            Rule::DirCrc,
            layout::file_header::DIRECTORY_CHECKSUM,
            crate::crc32(bytes),
            header.directory_checksum(),
        )?;
        let names_end =
            directory.names_start() + u64::from(directory.name_end(directory.tensor_count));
        require_zero(
            Rule::DirPadding,
            &bytes[names_end as usize..],
            extent.offset + names_end,
        )?;
        for number in 0..directory.tensor_count {
            directory.resolve(number)?;
        }
        directory.require_name_order()?;
        directory.require_stated_file_length(header)?;
        Ok(directory)
    }

    /// Number of tensors.
    pub const fn tensor_count(&self) -> u32 {
        self.tensor_count
    }

    /// The tensor with this number, counted from 0 in directory order.
    pub fn tensor(&self, number: u32) -> Option<Tensor<'a>> {
        // Every entry was resolved once when the directory was parsed.
        (number < self.tensor_count)
            .then(|| self.resolve(number).ok())
            .flatten()
    }

    /// All tensors in directory order.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'a>> + use<'a> {
        let directory = *self;
        (0..self.tensor_count).filter_map(move |number| directory.tensor(number))
    }

    /// The tensor with this name.
    pub fn find(&self, name: &str) -> Option<Tensor<'a>> {
        let (mut low, mut high) = (0, self.tensor_count);
        while low < high {
            let middle = low + (high - low) / 2;
            let number = self.by_name(middle);
            match self.name(number).cmp(name.as_bytes()) {
                core::cmp::Ordering::Equal => return self.tensor(number),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The file offset *E* where the last tensor's payload ends and the guard begins.
    pub fn payload_end(&self) -> u64 {
        self.payload_end_before(self.tensor_count)
    }

    /// The guard, zero bytes.
    pub fn guard(&self) -> Extent {
        Extent {
            offset: self.payload_end(),
            length: layout::GUARD_BYTES,
        }
    }

    /// The file offset *P0* where the payload begins.
    pub const fn payload_start(&self) -> u64 {
        self.payload_start
    }

    fn require_length(&self) -> Result<(), Error> {
        let mismatch = |expected| {
            Error::new(
                Rule::DirLength,
                layout::file_header::DIRECTORY_LENGTH,
                self.bytes.len() as u64,
                expected,
            )
        };
        let entries = layout::ENTRY_BYTES * u64::from(self.tensor_count);
        if (self.bytes.len() as u64) < entries {
            return Err(mismatch(Expected::AtLeast(entries)));
        }
        // The limits on the parts keep the sum far below 2^64.
        let names_end = self.names_start() + u64::from(self.name_end(self.tensor_count));
        let expected = names_end.next_multiple_of(layout::DIRECTORY_ALIGNMENT);
        if self.bytes.len() as u64 != expected {
            return Err(mismatch(Expected::Exactly(expected)));
        }
        Ok(())
    }

    /// Checks entry `number`, given that those before it have been checked.
    fn resolve(&self, number: u32) -> Result<Tensor<'a>, Error> {
        let raw = self.entry(number);
        let entry_offset = layout::FILE_HEADER_BYTES + layout::ENTRY_BYTES * u64::from(number);
        require_zero(
            Rule::DirReserved,
            &raw.reserved_half.to_le_bytes(),
            entry_offset + field::RESERVED_HALF,
        )?;
        require_zero(
            Rule::DirReserved,
            &raw.reserved_word.to_le_bytes(),
            entry_offset + field::RESERVED_WORD,
        )?;
        let dims = self.dims(number, &raw, entry_offset)?;
        let name = self.checked_name(number, &raw, entry_offset)?;
        Tensor::resolve(
            raw,
            Located {
                number,
                name,
                dims,
                entry_offset,
                payload_before: self.payload_end_before(number),
            },
        )
    }

    fn dims(&self, number: u32, raw: &RawEntry, entry_offset: u64) -> Result<&'a [[u8; 8]], Error> {
        let at = entry_offset + field::DIMS_END;
        let (start, end) = (self.dims_end(number), raw.dims_end);
        let rank = ascent(
            Rule::DimsEnd,
            at,
            start,
            end,
            self.dims_end(self.tensor_count),
        )?;
        if rank > limits::RANK {
            return Err(Error::new(
                Rule::LimitRank,
                at,
                rank.into(),
                Expected::AtMost(limits::RANK.into()),
            ));
        }
        let entries = layout::ENTRY_BYTES * u64::from(self.tensor_count);
        let (dims, _) = self.bytes[entries as usize..].as_chunks();
        Ok(&dims[start as usize..end as usize])
    }

    fn checked_name(
        &self,
        number: u32,
        raw: &RawEntry,
        entry_offset: u64,
    ) -> Result<&'a str, Error> {
        let at = entry_offset + field::NAME_END;
        let (start, end) = (self.name_end(number), raw.name_end);
        let length = ascent(
            Rule::NameEnd,
            at,
            start,
            end,
            self.name_end(self.tensor_count),
        )?;
        if length > limits::NAME_BYTES {
            return Err(Error::new(
                Rule::LimitName,
                at,
                length.into(),
                Expected::AtMost(limits::NAME_BYTES.into()),
            ));
        }
        let name = self.name(number);
        core::str::from_utf8(name).map_err(|error| {
            let bad = error.valid_up_to();
            Error::new(
                Rule::NameUtf8,
                layout::FILE_HEADER_BYTES + self.names_start() + u64::from(start) + bad as u64,
                name[bad].into(),
                Expected::Words("UTF-8"),
            )
        })
    }

    fn require_name_order(&self) -> Result<(), Error> {
        let mut before: Option<&[u8]> = None;
        for rank in 0..self.tensor_count {
            let number = self.by_name(rank);
            let at =
                layout::FILE_HEADER_BYTES + layout::ENTRY_BYTES * u64::from(rank) + field::BY_NAME;
            let broken = |rule, expected| Err(Error::new(rule, at, number.into(), expected));
            if number >= self.tensor_count {
                let last = u64::from(self.tensor_count) - 1;
                return broken(Rule::NameOrder, Expected::AtMost(last));
            }
            let name = self.name(number);
            match before.map(|before| before.cmp(name)) {
                Some(core::cmp::Ordering::Equal) => {
                    return broken(
                        Rule::NameDuplicate,
                        Expected::Words("a tensor of another name"),
                    );
                }
                Some(core::cmp::Ordering::Greater) => {
                    return broken(
                        Rule::NameOrder,
                        Expected::Words("a tensor of a greater name"),
                    );
                }
                Some(core::cmp::Ordering::Less) | None => before = Some(name),
            }
        }
        Ok(())
    }

    fn require_stated_file_length(&self, header: &FileHeader) -> Result<(), Error> {
        let expected = self.payload_end().checked_add(layout::GUARD_BYTES);
        if expected == Some(header.file_length()) {
            return Ok(());
        }
        Err(Error::new(
            Rule::FileLength,
            layout::file_header::FILE_LENGTH,
            header.file_length(),
            expected.map_or(Expected::Words("a length below 2^64"), Expected::Exactly),
        ))
    }

    /// The fields of entry `number`, which is less than the tensor count.
    fn entry(&self, number: u32) -> RawEntry {
        let start = layout::ENTRY_BYTES as usize * number as usize;
        RawEntry::parse(&self.bytes[start..]).expect("require_length counted the entries")
    }

    fn dims_end(&self, before: u32) -> u32 {
        before
            .checked_sub(1)
            .map_or(0, |number| self.entry(number).dims_end)
    }

    fn name_end(&self, before: u32) -> u32 {
        before
            .checked_sub(1)
            .map_or(0, |number| self.entry(number).name_end)
    }

    fn payload_end_before(&self, before: u32) -> u64 {
        before
            .checked_sub(1)
            .map_or(self.payload_start, |number| self.entry(number).payload_end)
    }

    fn by_name(&self, rank: u32) -> u32 {
        self.entry(rank).by_name
    }

    /// Offset of the names in the directory.
    fn names_start(&self) -> u64 {
        layout::ENTRY_BYTES * u64::from(self.tensor_count)
            + layout::DIMENSION_BYTES * u64::from(self.dims_end(self.tensor_count))
    }

    /// The name of a tensor whose name end has been checked.
    fn name(&self, number: u32) -> &'a [u8] {
        let names = &self.bytes[self.names_start() as usize..];
        &names[self.name_end(number) as usize..self.entry(number).name_end as usize]
    }
}

/// `end` minus `start`, where every valid end is at most `last`.
fn ascent(rule: Rule, at: u64, start: u32, end: u32, last: u32) -> Result<u32, Error> {
    if end > last {
        // A later end must then be lower than this one.
        return Err(Error::new(
            rule,
            at,
            end.into(),
            Expected::AtMost(last.into()),
        ));
    }
    end.checked_sub(start).ok_or(Error::new(
        rule,
        at,
        end.into(),
        Expected::AtLeast(start.into()),
    ))
}
