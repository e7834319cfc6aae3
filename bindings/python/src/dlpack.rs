//! The structs of DLPack, a protocol by which libraries share the memory of arrays (`dlpack.h`,
//! version 1.1).

use std::ffi::{CStr, c_void};

/// Name of a capsule with a [`Managed`].
pub(crate) const MANAGED: &CStr = c"dltensor";
/// Name of a capsule with a [`Versioned`].
pub(crate) const VERSIONED: &CStr = c"dltensor_versioned";

pub(crate) const MAJOR_VERSION: u32 = 1;
/// The first version that has types of fewer than 16 bits.
pub(crate) const MINOR_VERSION: u32 = 1;

/// Flag: the memory must not be written.
pub(crate) const READ_ONLY: u64 = 1;
/// Flag: the memory is a copy that was made for the consumer.
pub(crate) const IS_COPIED: u64 = 2;

/// Kind of the device whose memory is that of the host.
pub(crate) const HOST: i32 = 1;

/// Kinds of numbers.
pub(crate) mod code {
    pub(crate) const SIGNED: u8 = 0;
    pub(crate) const UNSIGNED: u8 = 1;
    pub(crate) const FLOAT: u8 = 2;
    pub(crate) const BFLOAT: u8 = 4;
    pub(crate) const COMPLEX: u8 = 5;
    pub(crate) const BOOL: u8 = 6;
    pub(crate) const F8_E4M3FN: u8 = 10;
    pub(crate) const F8_E4M3FNUZ: u8 = 11;
    pub(crate) const F8_E5M2: u8 = 12;
    pub(crate) const F8_E5M2FNUZ: u8 = 13;
    pub(crate) const F8_E8M0FNU: u8 = 14;
    pub(crate) const F4_E2M1FN: u8 = 17;
}

#[repr(C)]
pub(crate) struct Device {
    pub(crate) kind: i32,
    pub(crate) number: i32,
}

/// Type of an element: `lanes` numbers of `bits` bits.
#[repr(C)]
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct DataType {
    pub(crate) code: u8,
    pub(crate) bits: u8,
    pub(crate) lanes: u16,
}

#[repr(C)]
pub(crate) struct Tensor {
    pub(crate) data: *mut c_void,
    pub(crate) device: Device,
    pub(crate) dimensions: i32,
    pub(crate) data_type: DataType,
    /// One for each dimension.
    pub(crate) shape: *const i64,
    /// One for each dimension, in elements; or null for row-major order.
    pub(crate) strides: *const i64,
    pub(crate) byte_offset: u64,
}

/// A tensor and its owner.
#[repr(C)]
pub(crate) struct Managed {
    pub(crate) tensor: Tensor,
    pub(crate) owner: *mut c_void,
    pub(crate) deleter: Option<unsafe extern "C" fn(*mut Managed)>,
}

/// A tensor and its owner, since version 1.
#[repr(C)]
pub(crate) struct Versioned {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) owner: *mut c_void,
    pub(crate) deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    pub(crate) flags: u64,
    pub(crate) tensor: Tensor,
}
