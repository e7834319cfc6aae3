//! Types and fields: the table of section 4.1.

/// A type of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Dtype {
    /// Its code in a directory entry.
    pub code: u8,
    /// Its name.
    pub name: &'static str,
    /// Bits of an element.
    pub element_bits: u64,
    /// Bytes of a weight.
    pub weight_bytes: u64,
    /// The highest and the lowest bit of each field.
    pub fields: &'static [(u32, u32)],
}

/// The type with this code.
pub(super) fn dtype(code: u8) -> Option<&'static Dtype> {
    DTYPES.iter().find(|dtype| dtype.code == code)
}

const fn row(
    code: u8,
    name: &'static str,
    element_bits: u64,
    weight_bytes: u64,
    fields: &'static [(u32, u32)],
) -> Dtype {
    Dtype {
        code,
        name,
        element_bits,
        weight_bytes,
        fields,
    }
}

/// The fields of integers of 32 bits.
const NIBBLES: &[(u32, u32)] = &[
    (31, 28),
    (27, 24),
    (23, 20),
    (19, 16),
    (15, 12),
    (11, 8),
    (7, 4),
    (3, 1),
];

/// The fields of integers of 64 bits.
const BYTES: &[(u32, u32)] = &[
    (63, 56),
    (55, 48),
    (47, 40),
    (39, 32),
    (31, 24),
    (23, 16),
    (15, 8),
    (7, 1),
];

const DTYPES: &[Dtype] = &[
    row(1, "BOOL", 8, 1, &[(7, 4), (3, 1)]),
    row(2, "U8", 8, 1, &[(7, 4), (3, 1)]),
    row(3, "I8", 8, 1, &[(7, 4), (3, 1)]),
    row(4, "F8_E5M2", 8, 1, &[(6, 2), (1, 0)]),
    row(5, "F8_E4M3", 8, 1, &[(6, 3), (2, 0)]),
    row(6, "F8_E8M0", 8, 1, &[(7, 1)]),
    row(7, "F8_E4M3FNUZ", 8, 1, &[(6, 3), (2, 0)]),
    row(8, "F8_E5M2FNUZ", 8, 1, &[(6, 2), (1, 0)]),
    row(9, "F4", 4, 1, &[(7, 4), (3, 1)]),
    row(10, "F6_E2M3", 6, 1, &[]),
    row(11, "F6_E3M2", 6, 1, &[]),
    row(12, "I16", 16, 2, &[(15, 12), (11, 8), (7, 4), (3, 1)]),
    row(13, "U16", 16, 2, &[(15, 12), (11, 8), (7, 4), (3, 1)]),
    row(14, "F16", 16, 2, &[(14, 10), (9, 7), (6, 3), (2, 0)]),
    row(15, "BF16", 16, 2, &[(14, 7), (6, 4), (3, 0)]),
    row(16, "I32", 32, 4, NIBBLES),
    row(17, "U32", 32, 4, NIBBLES),
    row(
        18,
        "F32",
        32,
        4,
        &[(30, 23), (22, 20), (19, 16), (15, 13), (12, 8), (7, 0)],
    ),
    row(19, "I64", 64, 8, BYTES),
    row(20, "U64", 64, 8, BYTES),
    row(
        21,
        "F64",
        64,
        8,
        &[
            (59, 52),
            (62, 60),
            (47, 40),
            (39, 32),
            (31, 24),
            (23, 16),
            (15, 8),
            (7, 0),
        ],
    ),
    row(
        22,
        "C64",
        64,
        8,
        &[
            (30, 23),
            (22, 16),
            (15, 8),
            (7, 0),
            (62, 55),
            (54, 48),
            (47, 40),
            (39, 32),
        ],
    ),
];
