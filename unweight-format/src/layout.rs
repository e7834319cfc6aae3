//! Offsets, sizes and magic numbers of the bitstream, in the order of the specification. Both the
//! parser and the writer read them here, so each number is written once.

/// First bytes of every file (section 3.1). The high bit, CR LF, control-Z and LF detect transfers
/// in text mode.
pub const MAGIC: [u8; 8] = *b"\x89UNW\r\n\x1a\n";
/// The major version that this crate reads and writes (section 12).
pub const MAJOR_VERSION: u16 = 1;
/// The minor version that this crate writes.
pub const MINOR_VERSION: u16 = 0;

/// Bytes of the file header (section 3.1).
pub const FILE_HEADER_BYTES: u64 = 64;
/// Bytes of the file header that its checksum covers.
pub const FILE_HEADER_CHECKED_BYTES: usize = 60;
/// Bytes of a directory entry (section 3.2).
pub const ENTRY_BYTES: u64 = 40;
/// Bytes of one dimension in the directory.
pub const DIMENSION_BYTES: u64 = 8;
/// The directory's length is a multiple of this.
pub const DIRECTORY_ALIGNMENT: u64 = 8;
/// Shortest source section of kind safetensors: the length of its JSON (section 3.3).
pub const SAFETENSORS_LENGTH_BYTES: u64 = 8;

/// Bytes of an extension item in front of its contents: kind and length (section 3.4).
pub const EXTENSION_HEADER_BYTES: usize = 8;
/// Extension items end on multiples of this.
pub const EXTENSION_ALIGNMENT: usize = 8;
/// The bit of an extension item's kind that makes it critical.
pub const CRITICAL: u32 = 1 << 31;

/// The payload begins on a multiple of this (section 3).
pub const PAYLOAD_ALIGNMENT: u64 = 256;
/// The plain plane and the palettes of a tensor of [`LARGE_TENSOR_BYTES`] or more begin on
/// multiples of this (section 3.5).
pub const LARGE_TENSOR_ALIGNMENT: u64 = 256;
/// The plain plane and the palettes of other tensors begin on multiples of this.
pub const SMALL_TENSOR_ALIGNMENT: u64 = 16;
/// Original bytes from which a tensor has the greater alignment.
pub const LARGE_TENSOR_BYTES: u64 = 1 << 16;
/// Zero bytes that end every file.
pub const GUARD_BYTES: u64 = 64;
/// Bytes of a plain plane under one block checksum. A plane of no more has none.
pub const BLOCK_BYTES: u64 = 1 << 16;
/// Bytes of one block checksum; the table of them starts on a multiple of this.
pub const BLOCK_CHECKSUM_BYTES: u64 = 4;
/// Bytes of one record end.
pub const RECORD_END_BYTES: u64 = 4;
/// Record ends count in units of this, and records start on multiples of it.
pub const RECORD_ALIGNMENT: u64 = 16;

/// The most fields that a type has (section 4.1).
pub const FIELDS: usize = 8;
/// Bits of the form of one field in a directory entry (section 4.2).
pub const FORM_BITS: u32 = 4;
/// A field of at most this many bits has every value in its palette, and never the form palette.
pub const NARROW_BITS: u32 = 4;

/// Weights of a step: every lane codes 8 of them.
pub const STEP_WEIGHTS: usize = 256;
/// Lanes of a chunk.
pub const LANES: usize = 32;
/// Weights of a step that one lane codes.
pub const LANE_STEP_WEIGHTS: usize = STEP_WEIGHTS / LANES;
/// Bytes of a palette, and the most entries that it has (section 3.5).
pub const PALETTE_ENTRIES: usize = 16;

/// Bytes of a record header (section 5.1).
pub const RECORD_HEADER_BYTES: usize = 16;
/// Offset in a record from which its checksum counts.
pub const RECORD_CHECKED_FROM: usize = 4;
/// Bytes of the 32 lane ends (section 5.2).
pub const LANE_ENDS_BYTES: usize = 2 * LANES;
/// Offset in a huffman record where its lane streams start.
pub const LANE_STREAMS_OFFSET: usize = RECORD_HEADER_BYTES + LANE_ENDS_BYTES;
/// Bytes of the palette indices of one step (section 5.3).
pub const STEP_INDEX_BYTES: usize = STEP_WEIGHTS / 2;
/// Bytes of a patch (section 5.5).
pub const PATCH_BYTES: usize = 3;

/// Record kind: values as a bit string.
pub const KIND_VERBATIM: u8 = 0;
/// Record kind: 32 lane streams.
pub const KIND_HUFFMAN: u8 = 1;
/// Record kind: 4-bit palette indices.
pub const KIND_PALETTE: u8 = 2;

/// Bytes of the code lengths in a record header: a nibble for each palette entry (section 6).
pub const CODE_LENGTHS_BYTES: usize = PALETTE_ENTRIES / 2;
/// Longest code, in bits.
pub const LONGEST_CODE_BITS: u8 = 8;
/// The nibble of a palette entry that has no code.
pub const NO_CODE: u8 = 15;

/// The least multiple of `alignment` (a power of two) that is at least `value`, or `None` above 64
/// bits.
pub const fn align(value: u64, alignment: u64) -> Option<u64> {
    match value.checked_add(alignment - 1) {
        Some(sum) => Some(sum & !(alignment - 1)),
        None => None,
    }
}

/// Alignment *A* of the plain plane and the palettes of a tensor of `data_bytes` original bytes
/// (section 3.5).
pub const fn tensor_alignment(data_bytes: u64) -> u64 {
    match data_bytes < LARGE_TENSOR_BYTES {
        true => SMALL_TENSOR_ALIGNMENT,
        false => LARGE_TENSOR_ALIGNMENT,
    }
}

/// Entries of the palette of a field of `width` bits (section 3.5).
pub const fn palette_entries(width: u32) -> usize {
    match width < NARROW_BITS {
        true => 1 << width,
        false => PALETTE_ENTRIES,
    }
}

/// Bytes of the body of the verbatim record of `weights` weights and a field of `width` bits
/// (section 5.4).
pub const fn verbatim_bytes(weights: u32, width: u32) -> u64 {
    (weights as u64 * width as u64).div_ceil(8)
}

/// Bytes of the verbatim record of `weights` weights and a field of `width` bits: no record of them
/// is longer (section 5.1).
pub const fn longest_record_bytes(weights: u32, width: u32) -> u64 {
    (RECORD_HEADER_BYTES as u64 + verbatim_bytes(weights, width)).next_multiple_of(RECORD_ALIGNMENT)
}

/// Offsets of the file header's fields (section 3.1).
pub mod file_header {
    /// u16.
    pub const MAJOR_VERSION: u64 = 8;
    /// u32.
    pub const TENSOR_COUNT: u64 = 12;
    /// u64.
    pub const FILE_LENGTH: u64 = 16;
    /// u64.
    pub const DIRECTORY_LENGTH: u64 = 24;
    /// u64.
    pub const SOURCE_LENGTH: u64 = 32;
    /// u32.
    pub const DIRECTORY_CHECKSUM: u64 = 40;
    /// u32.
    pub const SOURCE_CHECKSUM: u64 = 44;
    /// u32.
    pub const EXTENSION_LENGTH: u64 = 48;
    /// u32.
    pub const EXTENSION_CHECKSUM: u64 = 52;
    /// u8.
    pub const SOURCE_KIND: u64 = 56;
    /// 3 bytes.
    pub const RESERVED: u64 = 57;
    /// u32.
    pub const HEADER_CHECKSUM: u64 = 60;
}

/// Offsets of a directory entry's fields (section 3.2).
pub mod entry {
    /// u8.
    pub const DTYPE: u64 = 0;
    /// u8.
    pub const CHUNK_SIZE: u64 = 1;
    /// u16.
    pub const RESERVED_HALF: u64 = 2;
    /// u32.
    pub const FORMS: u64 = 4;
    /// u64.
    pub const PAYLOAD_END: u64 = 8;
    /// u32.
    pub const TENSOR_CHECKSUM: u64 = 16;
    /// u32.
    pub const PALETTE_CHECKSUM: u64 = 20;
    /// u32.
    pub const DIMS_END: u64 = 24;
    /// u32.
    pub const NAME_END: u64 = 28;
    /// u32.
    pub const BY_NAME: u64 = 32;
    /// u32.
    pub const RESERVED_WORD: u64 = 36;
}

/// Offsets of a record's fields (sections 5.1 and 5.2).
pub mod record {
    /// u32.
    pub const CHECKSUM: u64 = 0;
    /// u8.
    pub const KIND: u64 = 4;
    /// u8.
    pub const RESERVED: u64 = 5;
    /// u16.
    pub const PATCH_COUNT: u64 = 6;
    /// 8 bytes.
    pub const CODE_LENGTHS: u64 = 8;
    /// 32 u16, in huffman records.
    pub const LANE_ENDS: u64 = 16;
}
