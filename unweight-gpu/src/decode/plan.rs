//! Layout of a launch: pure functions, tested without a GPU.

/// Shared memory of a chunk's tables in bytes: values by codes, then lengths
/// (`kernels/decode/code_table.cuh`).
pub const TABLE_BYTES: u32 = 256 + 128;
/// Shared memory of each coded field in bytes, in the kernels of any forms: its tables, the positions
/// of its lanes, and its record's place (`kernels/decode/field_values.cuh`).
pub const FIELD_BYTES: u32 = TABLE_BYTES + 128 + 32;

/// Shared memory that a block may have without asking for more.
const SHARED_BYTES: u32 = 48 << 10;
/// The most shared memory for a record.
pub(crate) const MOST_STAGE_BYTES: u32 = SHARED_BYTES - TABLE_BYTES;
/// Records of the exponents of trained weights have a third of a byte for each weight. Longer ones
/// are read in place, so that a few of them do not reduce the number of warps for all others.
const STAGE_BYTES_PER_VALUE: (u64, u64) = (7, 16);

/// The shared memory that each block has for the records of its chunk, beside `table_bytes` for
/// those of its coded fields: enough for the longest, up to a limit.
///
/// `longest_records_bytes` and `chunk_weights` are the greatest of the launch.
pub fn stage_bytes(longest_records_bytes: u64, chunk_weights: u64, table_bytes: u32) -> u32 {
    let (of, in_) = STAGE_BYTES_PER_VALUE;
    let values = chunk_weights * u64::from(table_bytes.div_ceil(FIELD_BYTES));
    let reasonable = (values * of / in_).next_multiple_of(16);
    longest_records_bytes
        .min(reasonable)
        .min((SHARED_BYTES - table_bytes).into()) as u32
}

/// The most warps of a block that fills a multiprocessor (`kernels/decode/decode.cu`).
const MOST_WARPS: u32 = 16;

/// The number of warps in a block that has this much shared memory, with this much for each.
pub(crate) const fn warps_of_block(shared_bytes: u32, warp_bytes: u32) -> u32 {
    let fitting = shared_bytes / warp_bytes;
    if fitting < MOST_WARPS {
        fitting
    } else {
        MOST_WARPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_fills_a_multiprocessor_has_warps() {
        // The cases are: records that are read in place, records of trained weights, and the
        // longest stage on the device with the least shared memory.
        assert_eq!(warps_of_block(227 << 10, TABLE_BYTES), 16);
        assert_eq!(warps_of_block(227 << 10, TABLE_BYTES + 13_000), 16);
        assert_eq!(warps_of_block(99 << 10, SHARED_BYTES), 2);
    }

    #[test]
    fn a_stage_holds_the_longest_record_and_no_more_than_a_block_may_have() {
        assert_eq!(stage_bytes(11_008, 1 << 15, TABLE_BYTES), 11_008);
        let limit = (1 << 15) / 16 * 7;
        assert_eq!(stage_bytes(1 << 16, 1 << 15, TABLE_BYTES), limit);
        assert_eq!(stage_bytes(1 << 16, 1 << 15, FIELD_BYTES), limit);
        assert_eq!(stage_bytes(1 << 16, 1 << 15, 2 * FIELD_BYTES), 2 * limit);
        for table_bytes in [TABLE_BYTES, FIELD_BYTES, 8 * FIELD_BYTES] {
            for log2 in 12..=16 {
                for longest in (16..(1u64 << 17)).step_by(4096) {
                    let stage = stage_bytes(longest, 1 << log2, table_bytes);
                    assert_eq!(stage % 16, 0);
                    assert!(stage + table_bytes <= SHARED_BYTES);
                }
            }
        }
    }
}
