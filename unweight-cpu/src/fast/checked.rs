//! Checksums computed while a chunk is decoded: that of its first record, and the weights', which
//! combine into the tensor's.

/// The computed checksums of a chunk, not yet compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checksums {
    /// CRC-32 of the chunk's first record from offset 4 and of its plain bytes.
    pub record: u32,
    /// CRC-32 of the weights' bytes.
    pub weights: u32,
}

impl Checksums {
    /// The checksum after these additional bytes.
    pub(super) fn and(self, plain: &[u8], weights: &[u8]) -> Checksums {
        Checksums {
            record: continued(self.record, plain),
            weights: continued(self.weights, weights),
        }
    }

    /// The checksums of a chunk. `record_so_far` is the checksum of its first record up to the
    /// plain bytes.
    pub fn of(record_so_far: u32, plain: &[u8], weights: &[u8]) -> Checksums {
        let nothing = Checksums {
            record: record_so_far,
            weights: 0,
        };
        nothing.and(plain, weights)
    }
}

/// The CRC-32 of these bytes behind those with the CRC-32 `crc`.
pub(super) fn continued(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}
