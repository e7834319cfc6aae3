//! Decoding with checksums: of the chunk, and of the weights, which the tensor's is combined of.

/// The checksums of a chunk, computed and not yet compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksums {
    /// Of the record from offset 4 and the sign-mantissa bytes.
    pub(crate) chunk: u32,
    /// Of the weights' bytes.
    pub(crate) weights: u32,
}

impl Checksums {
    /// With these bytes behind.
    pub(super) fn and(self, sign_mantissa: &[u8], weights: &[u8]) -> Checksums {
        Checksums {
            chunk: go_on(self.chunk, sign_mantissa),
            weights: go_on(self.weights, weights),
        }
    }

    /// Those of a chunk whose checksum is so far that of its record.
    pub(crate) fn of(chunk_so_far: u32, sign_mantissa: &[u8], weights: &[u8]) -> Checksums {
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
