//! Names of plans, which can be saved and belong to no matrix.

use serde::{Deserialize, Serialize};

/// A pipeline: what is prepared before a matmul, and what is rebuilt on the way to the tensor
/// cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pipeline {
    /// [`Direct`](crate::Direct), for fragment form.
    Direct,
    /// [`WholeDecode`](crate::WholeDecode), for any matrix.
    WholeDecode,
    /// [`ExponentDecode`](crate::ExponentDecode), for a matrix whose exponent alone is coded.
    ExponentDecode,
    /// [`PaletteTranscode`](crate::PaletteTranscode), for a matrix whose exponent alone is coded.
    PaletteTranscode,
}

impl Pipeline {
    /// All pipelines.
    pub const ALL: [Pipeline; 4] = [
        Pipeline::Direct,
        Pipeline::WholeDecode,
        Pipeline::ExponentDecode,
        Pipeline::PaletteTranscode,
    ];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Pipeline::Direct => "direct",
            Pipeline::WholeDecode => "whole_decode",
            Pipeline::ExponentDecode => "exponent_decode",
            Pipeline::PaletteTranscode => "palette_transcode",
        }
    }
}

/// The kernel for matmuls from fragment form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kernel {
    /// The kernel with the shortest estimated time.
    #[default]
    Estimated,
    /// The small-batch kernel, for at most 64 rows of x at a time. It supports every device and
    /// shape (`kernels/matmul/small_batch_matmul.cu`).
    #[serde(alias = "few_rows")]
    SmallBatch,
    /// A large-batch kernel, if the device and the shape support it, and the estimate's otherwise
    /// (`kernels/matmul/large_batch_matmul.cu`).
    #[serde(alias = "many_rows")]
    LargeBatch {
        /// Rows of x that a block multiplies together.
        tile: u32,
    },
}

/// The name of a [`Plan`](crate::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanName {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The kernel: [`Kernel::Estimated`] for pipelines with a single one.
    pub kernel: Kernel,
}

impl From<Pipeline> for PlanName {
    fn from(pipeline: Pipeline) -> PlanName {
        PlanName {
            pipeline,
            kernel: Kernel::Estimated,
        }
    }
}

impl std::fmt::Display for PlanName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.pipeline.name())?;
        match self.kernel {
            Kernel::Estimated => Ok(()),
            Kernel::SmallBatch => f.write_str(", small batch"),
            Kernel::LargeBatch { tile } => write!(f, ", tile {tile}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_was_saved_with_splits_and_teams_is_that_of_its_tile() {
        let saved = r#"{"many_rows":{"tile":64,"splits":2,"teams":2}}"#;
        let kernel: Kernel = serde_json::from_str(saved).unwrap();
        assert_eq!(kernel, Kernel::LargeBatch { tile: 64 });
    }

    #[test]
    fn plans_are_named_by_what_was_chosen() {
        let direct = PlanName::from(Pipeline::Direct);
        assert_eq!(direct.to_string(), "direct");
        let kernel = Kernel::LargeBatch { tile: 64 };
        let name = PlanName { kernel, ..direct };
        assert_eq!(name.to_string(), "direct, tile 64");
    }
}
