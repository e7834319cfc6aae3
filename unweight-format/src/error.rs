//! Rules of section 10, and the error that names the broken one.

use core::fmt;

macro_rules! rules {
    ($($variant:ident $id:literal $category:ident $section:literal $broken_when:literal,)*) => {
        /// A must-reject rule of the specification (section 10).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = concat!("`", $id, "` (section ", $section, "): ", $broken_when, ".")] $variant,)*
        }

        impl Rule {
            /// Every rule, in the order of the specification's table.
            pub const ALL: &[Rule] = &[$(Rule::$variant,)*];

            /// The stable id, as in the specification, the conformance corpus and messages.
            pub const fn id(self) -> &'static str {
                match self { $(Rule::$variant => $id,)* }
            }

            /// The category.
            pub const fn category(self) -> Category {
                match self { $(Rule::$variant => Category::$category,)* }
            }

            /// The section of the specification that states the rule. Two sections are separated by a
            /// comma: `3.5, 4.2`.
            pub const fn section(self) -> &'static str {
                match self { $(Rule::$variant => $section,)* }
            }

            /// The condition under which the rule is broken, in words.
            pub const fn broken_when(self) -> &'static str {
                match self { $(Rule::$variant => $broken_when,)* }
            }
        }
    };
}

rules! {
    FileMagic "file-magic" Malformed "3.1" "the first bytes are not the magic",
    FileTruncated "file-truncated" Truncated "3.1" "fewer bytes exist than the header needs or states",
    FileVersion "file-version" Unsupported "3.1" "the major version is not 1",
    FileHeaderCrc "file-header-crc" Malformed "3.1" "the header checksum is wrong",
    FileReserved "file-reserved" Malformed "3.1" "a reserved header byte is not zero",
    LimitTensors "limit-tensors" Limit "3.1" "more than 2^20 tensors",
    LimitDirectory "limit-directory" Limit "3.1" "a directory of more than 2^28 bytes",
    LimitSource "limit-source" Limit "3.1" "a source section of more than 2^28 bytes",
    LimitExtensions "limit-extensions" Limit "3.1" "extensions of more than 2^28 bytes",
    SourceKind "source-kind" Unsupported "3.1" "the source kind is not known",
    SourceLength "source-length" Malformed "3.1" "the source length does not fit the source kind",
    FileTrailing "file-trailing" Malformed "3.1" "bytes follow the stated file length",
    FileLength "file-length" Malformed "3.1" "the stated file length is not the payload end plus the guard",
    DirLength "dir-length" Malformed "3.2" "entries, dimensions, names and padding do not add up to the directory length",
    DirCrc "dir-crc" Malformed "3.2" "the directory checksum is wrong",
    DirReserved "dir-reserved" Malformed "3.2" "a reserved byte of an entry is not zero",
    DirPadding "dir-padding" Malformed "3.2" "a padding byte of the directory is not zero",
    DimsEnd "dims-end" Malformed "3.2" "a dims end decreases",
    LimitRank "limit-rank" Limit "3.2" "a tensor has more than 64 dimensions",
    NameEnd "name-end" Malformed "3.2" "a name end decreases",
    LimitName "limit-name" Limit "3.2" "a name has more than 65,535 bytes",
    NameUtf8 "name-utf8" Malformed "3.2" "a name is not UTF-8",
    NameOrder "name-order" Malformed "3.2" "the by-name fields do not sort the names",
    NameDuplicate "name-duplicate" Malformed "3.2" "a name occurs twice in the by-name order",
    SourceCrc "source-crc" Malformed "3.3" "the source checksum is wrong",
    SourceHeader "source-header" Malformed "3.3" "the safetensors header is invalid or differs from the directory",
    ExtensionCrc "extension-crc" Malformed "3.4" "the extension checksum is wrong",
    ExtensionLength "extension-length" Malformed "3.4" "the extensions do not divide into items",
    ExtensionPadding "extension-padding" Malformed "3.4" "a padding byte of an extension item is not zero",
    ExtensionUnknown "extension-unknown" Unsupported "3.4" "a critical extension item is not known",
    PayloadEnd "payload-end" Malformed "3.5" "a payload end does not fit the tensor",
    Padding "padding" Malformed "3.5" "a byte or bit of the payload's padding or of the guard is not zero",
    BlockCrc "block-crc" Malformed "3.5" "a block checksum is wrong",
    PaletteCrc "palette-crc" Malformed "3.5, 4.2" "the palette checksum is wrong, or there is one without palettes",
    PaletteValues "palette-values" Malformed "3.5" "a palette does not ascend, has a value that its field cannot have, or is not filled with zeros",
    RecordEnds "record-ends" Malformed "3.5" "the record ends do not ascend, or do not end with the payload",
    RecordTooLong "record-too-long" Malformed "3.5" "a record is longer than its chunk's verbatim record",
    DtypeUnknown "dtype-unknown" Unsupported "4.1" "the dtype code is not known",
    LimitElements "limit-elements" Limit "4.1" "a tensor has more than 2^56 elements",
    TensorBits "tensor-bits" Malformed "4.1" "a tensor does not fill whole bytes",
    FormUnknown "form-unknown" Unsupported "4.2" "the form of a field is not known",
    FormField "form-field" Malformed "4.2" "a form is given for a field that the type does not have, or that is too narrow for it",
    FormEmpty "form-empty" Malformed "4.2" "a tensor with no weights has a form other than plain",
    LimitCoded "limit-coded" Limit "4.2" "a tensor with a coded field has more than 2^36 original bytes",
    ChunkSize "chunk-size" Malformed "4.2" "the chunk size is outside 12..16, or is given without a coded field",
    RecordCrc "record-crc" Malformed "5.1" "the record checksum is wrong",
    RecordKind "record-kind" Unsupported "5.1" "the record kind is not known",
    RecordForm "record-form" Malformed "5.1" "the record kind does not belong to the field's form",
    RecordReserved "record-reserved" Malformed "5.1" "a field that must be zero is not",
    RecordLength "record-length" Malformed "5.1" "the record is longer or shorter than its contents",
    RecordPadding "record-padding" Malformed "5.1" "a padding byte or bit of the record is not zero",
    LaneEnds "lane-ends" Malformed "5.2" "a lane end decreases",
    LaneOverrun "lane-overrun" Malformed "5.2" "a lane's codes need more bits than it has",
    LaneUnderrun "lane-underrun" Malformed "5.2" "a lane has eight or more bits that no code uses",
    LanePadding "lane-padding" Malformed "5.2" "an unused bit of a lane's last byte is not zero",
    PatchOrder "patch-order" Malformed "5.5" "patch positions do not ascend",
    PatchPosition "patch-position" Malformed "5.5" "a patch lies outside the chunk",
    PatchValue "patch-value" Malformed "5.5" "a patch has a value that its field cannot have",
    CodeLength "code-length" Malformed "6" "a code length is 9 to 14, or belongs to no palette entry",
    CodeOversubscribed "code-oversubscribed" Malformed "6" "the code lengths claim more than the whole code space",
    CodeIncomplete "code-incomplete" Malformed "6" "the code lengths leave code space unused",
    TensorCrc "tensor-crc" Malformed "8" "the tensor checksum is wrong",
}

/// Category of a rule: what a caller can do about a rejected file (section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Category {
    /// More bytes would help.
    Truncated,
    /// The file is bad.
    Malformed,
    /// A newer decoder would help.
    Unsupported,
    /// The file is too large for the format.
    Limit,
}

impl Category {
    /// The category's name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Category::Truncated => "truncated",
            Category::Malformed => "malformed",
            Category::Unsupported => "unsupported",
            Category::Limit => "limit",
        }
    }
}

/// The value that would have been valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// This value.
    Exactly(u64),
    /// This checksum.
    Checksum(u32),
    /// This value or more.
    AtLeast(u64),
    /// This value or less.
    AtMost(u64),
    /// A condition that is not one number.
    Words(&'static str),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Exactly(value) => write!(f, "{value}"),
            Expected::Checksum(value) => write!(f, "{value:#010x}"),
            Expected::AtLeast(value) => write!(f, "at least {value}"),
            Expected::AtMost(value) => write!(f, "at most {value}"),
            Expected::Words(words) => f.write_str(words),
        }
    }
}

/// A broken rule, with its offset, the value found and the value expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// The rule.
    pub rule: Rule,
    /// Offset in the file, in bytes, of the field or the data that breaks the rule.
    pub offset: u64,
    /// The value found.
    pub found: u64,
    /// The value expected.
    pub expected: Expected,
}

impl Error {
    /// The error that `rule` is broken at `offset`.
    pub const fn new(rule: Rule, offset: u64, found: u64, expected: Expected) -> Error {
        Error {
            rule,
            offset,
            found,
            expected,
        }
    }

    /// Returns an error if the computed checksum `found` differs from the stated one.
    pub(crate) fn unless_checksum(
        rule: Rule,
        offset: u64,
        found: u32,
        stated: u32,
    ) -> Result<(), Error> {
        if found == stated {
            return Ok(());
        }
        let expected = Expected::Checksum(stated);
        Err(Error::new(rule, offset, found.into(), expected))
    }

    /// The least number of further bytes that the file needs, if it is truncated.
    pub const fn missing_bytes(&self) -> Option<u64> {
        match (self.rule, self.expected) {
            (Rule::FileTruncated, Expected::AtLeast(needed)) => Some(needed - self.found),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: ", self.rule.id(), self.offset)?;
        match self.expected {
            Expected::Checksum(_) => write!(f, "found {:#010x}", self.found)?,
            _ => write!(f, "found {}", self.found)?,
        }
        write!(
            f,
            ", expected {}; {}",
            self.expected,
            self.rule.broken_when()
        )
    }
}

impl core::error::Error for Error {}

#[cfg(feature = "serde")]
impl serde::Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Error", 6)?;
        fields.serialize_field("rule", self.rule.id())?;
        fields.serialize_field("category", &self.rule.category())?;
        fields.serialize_field("section", self.rule.section())?;
        fields.serialize_field("offset", &self.offset)?;
        fields.serialize_field("found", &self.found)?;
        match self.expected {
            Expected::Exactly(value) => fields.serialize_field("expected", &value)?,
            Expected::Checksum(value) => fields.serialize_field("expected", &value)?,
            Expected::AtLeast(value) => fields.serialize_field("expected_at_least", &value)?,
            Expected::AtMost(value) => fields.serialize_field("expected_at_most", &value)?,
            Expected::Words(words) => fields.serialize_field("expected", words)?,
        }
        fields.end()
    }
}
