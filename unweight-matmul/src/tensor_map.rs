//! Tensor map of x for Hopper's copy engine (TMA).

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::mem::MaybeUninit;

use cudarc::driver::sys;

use crate::MatmulError;
use crate::layout::K_TILE_COLUMNS;

/// A matrix in the copy engine's description.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct TensorMap(sys::CUtensorMap);

impl TensorMap {
    /// A map of `rows` rows of `columns` BF16 values. Boxes have `box_rows` rows (at most 256) and
    /// the columns of a K tile. The 128 bytes of each row are swizzled for the tensor cores, and
    /// rows after the last are zeros. `address` must be a multiple of 16, and `columns` a multiple
    /// of a K tile's.
    ///
    /// # Errors
    /// The errors of the driver.
    pub(crate) fn of_rows(
        address: u64,
        rows: u32,
        columns: u64,
        box_rows: u32,
    ) -> Result<TensorMap, MatmulError> {
        let mut map = MaybeUninit::uninit();
        let (lengths, row_bytes) = ([columns, rows.into()], [2 * columns]);
        let (box_lengths, steps) = ([K_TILE_COLUMNS as u32, box_rows], [1, 1]);
        // SAFETY: the driver reads two lengths, one distance of rows, two lengths of boxes and two
        // steps, and writes the map. It does not read the memory at the address.
        unsafe {
            sys::cuTensorMapEncodeTiled(
                map.as_mut_ptr(),
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                lengths.len() as u32,
                address as *mut _,
                lengths.as_ptr(),
                row_bytes.as_ptr(),
                box_lengths.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
            .result()?;
            Ok(TensorMap(map.assume_init()))
        }
    }
}
