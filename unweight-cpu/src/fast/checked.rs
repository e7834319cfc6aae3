//! Checksums computed while a chunk is decoded: the chunk's, and the weights', which combine into
//! the tensor's.

/// The computed checksums of a chunk, not yet compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checksums {
    /// CRC-32 of the record from offset 4 and of the sign-mantissa bytes.
    pub chunk: u32,
    /// CRC-32 of the weights' bytes.
    pub weights: u32,
}

impl Checksums {
    /// The checksum after these additional bytes.
    pub(super) fn and(self, sign_mantissa: &[u8], weights: &[u8]) -> Checksums {
        Checksums {
            chunk: go_on(self.chunk, sign_mantissa),
            weights: go_on(self.weights, weights),
        }
    }

    /// The checksums of a chunk. `chunk_so_far` is its checksum up to its sign-mantissa bytes.
    pub fn of(chunk_so_far: u32, sign_mantissa: &[u8], weights: &[u8]) -> Checksums {
        let nothing = Checksums {
            chunk: chunk_so_far,
            weights: 0,
        };
        nothing.and(sign_mantissa, weights)
    }
}

fn go_on(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}
