//! What there is to choose where a product is made.

use serde::{Deserialize, Serialize};

use super::Pipeline;

/// What multiplies, where weights come from fragment form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// The one that an estimate of the time takes for the fastest.
    #[default]
    Estimated,
    /// The one for few rows of x, which any device and shape have (`kernels/matmul/small_batch_matmul.cu`).
    FewRows,
    /// One for many, where the device and the shape have it; else the estimate's (`kernels/matmul/large_batch_matmul.cu`).
    ManyRows {
        /// Rows of x that a block multiplies together.
        tile: u32,
    },
}

/// How a product is made, in all that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// What is done before it.
    pub pipeline: Pipeline,
    /// What multiplies: [`Kernel::Estimated`] for pipelines that have but one.
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
