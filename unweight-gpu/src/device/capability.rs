//! Compute capabilities.

use std::fmt;

/// The compute capability of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComputeCapability {
    /// The major number.
    pub major: i32,
    /// The minor number.
    pub minor: i32,
}

impl ComputeCapability {
    /// The oldest whose instructions the kernels use: 8.0.
    pub const OLDEST: ComputeCapability = ComputeCapability { major: 8, minor: 0 };
    /// Hopper, 9.0: the devices of the large-batch kernels.
    pub const HOPPER: ComputeCapability = ComputeCapability { major: 9, minor: 0 };

    /// Whether a kernel may begin before the previous launch on its stream has ended.
    pub fn overlaps_launches(self) -> bool {
        self >= ComputeCapability::HOPPER
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
