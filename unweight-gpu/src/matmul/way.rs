//! Choice of pipeline and kernel for a matmul.

use serde::{Deserialize, Serialize};

use super::Pipeline;

/// The kernel for matmuls from fragment form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// The kernel with the shortest estimated time.
    #[default]
    Estimated,
    /// The small-batch kernel, which supports every device and shape
    /// (`kernels/matmul/small_batch_matmul.cu`).
    FewRows,
    /// A large-batch kernel, if the device and the shape support it, and the estimate's otherwise
    /// (`kernels/matmul/large_batch_matmul.cu`).
    ManyRows {
        /// Rows of x that a block multiplies together.
        tile: u32,
    },
}

/// All choices for a matmul.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// The preparation before the matmul.
    pub pipeline: Pipeline,
    /// The kernel of the matmul: [`Kernel::Estimated`] for pipelines with a single kernel.
    pub kernel: Kernel,
}

impl From<Pipeline> for Way {
    fn from(pipeline: Pipeline) -> Way {
        Way {
            pipeline,
            kernel: Kernel::Estimated,
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.pipeline.name())?;
        match self.kernel {
            Kernel::Estimated => Ok(()),
            Kernel::FewRows => f.write_str(", few rows"),
            Kernel::ManyRows { tile } => write!(f, ", tile {tile}"),
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
        assert_eq!(kernel, Kernel::ManyRows { tile: 64 });
    }

    #[test]
    fn ways_are_named_by_what_was_chosen() {
        let direct = Way::from(Pipeline::Direct);
        assert_eq!(direct.to_string(), "direct");
        let kernel = Kernel::ManyRows { tile: 64 };
        let way = Way { kernel, ..direct };
        assert_eq!(way.to_string(), "direct, tile 64");
    }
}
