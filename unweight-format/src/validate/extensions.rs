//! The extensions (section 3.4).

use crate::error::{Error, Expected, Rule};
use crate::extension::Extension;
use crate::layout::{self, EXTENSION_ALIGNMENT, EXTENSION_HEADER_BYTES};
use crate::parse::RawExtension;
use crate::validate::file_header::truncated;
use crate::validate::{FileHeader, require_zero};

/// The extension items of a file, all checked.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// The extensions of a file with this header, from the bytes at [`FileHeader::extensions`].
    /// `known` are the kinds that the caller heeds. Version 1.0 defines none.
    ///
    /// # Errors
    /// The rules of section 3.4; `file-truncated` if `bytes` are fewer than the header states.
    pub fn parse(
        header: &FileHeader,
        bytes: &'a [u8],
        known: &[u32],
    ) -> Result<Extensions<'a>, Error> {
        let extent = header.extensions();
        let Some(bytes) = bytes.get(..extent.length as usize) else {
            return Err(truncated(extent.offset + bytes.len() as u64, extent.end()));
        };
        Error::unless_checksum(
            Rule::ExtensionCrc,
            layout::file_header::EXTENSION_CHECKSUM,
            crate::crc32(bytes),
            header.extension_checksum(),
        )?;
        if !bytes.len().is_multiple_of(EXTENSION_ALIGNMENT) {
            return Err(Error::new(
                Rule::ExtensionLength,
                layout::file_header::EXTENSION_LENGTH,
                extent.length,
                Expected::Words("a multiple of 8 bytes"),
            ));
        }
        let mut offset = extent.offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (item, padding, behind) = split(rest).ok_or_else(|| too_long(rest, offset))?;
            let padding_offset = offset + (EXTENSION_HEADER_BYTES + item.contents.len()) as u64;
            require_zero(Rule::ExtensionPadding, padding, padding_offset)?;
            if item.is_critical() && !known.contains(&item.kind) {
                return Err(Error::new(
                    Rule::ExtensionUnknown,
                    offset,
                    item.kind.into(),
                    Expected::Words("a kind that this decoder knows"),
                ));
            }
            offset += (rest.len() - behind.len()) as u64;
            rest = behind;
        }
        Ok(Extensions { bytes })
    }

    /// The items, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (item, _, behind) = split(rest)?;
            rest = behind;
            Some(item)
        })
    }

    /// Whether there are no items.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The item at the front of `bytes`, its padding, and what follows; `None` if it does not end
/// within them.
fn split(bytes: &[u8]) -> Option<(Extension<'_>, &[u8], &[u8])> {
    let raw = RawExtension::parse(bytes)?;
    let length = usize::try_from(raw.length).ok()?;
    let (contents, behind) = bytes
        .get(EXTENSION_HEADER_BYTES..)?
        .split_at_checked(length)?;
    let padding = length.checked_next_multiple_of(EXTENSION_ALIGNMENT)? - length;
    let (padding, behind) = behind.split_at_checked(padding)?;
    let kind = raw.kind;
    Some((Extension { kind, contents }, padding, behind))
}

/// The error of an item at `offset` that does not end within `rest`.
fn too_long(rest: &[u8], offset: u64) -> Error {
    let left = rest.len().saturating_sub(EXTENSION_HEADER_BYTES) as u64;
    let found = RawExtension::parse(rest).map_or(0, |raw| raw.length.into());
    Error::new(
        Rule::ExtensionLength,
        offset + 4,
        found,
        Expected::AtMost(left),
    )
}
