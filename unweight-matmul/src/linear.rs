//! Linear layer with compressed weights.

use std::sync::Arc;

use cudarc::driver::CudaContext;

use crate::layout::Shape;
use crate::pipelines::{Direct, ExponentDecode, PaletteTranscode, WholeDecode};
use crate::schedule::{MOST_PLANES_BATCH, MOST_SMALL_BATCH};
use crate::{MatmulError, NoPlan, Pipeline, Plan, PlanName, WeightForm, Weights};

/// y = x W^T, with W in any form. It chooses a [`Plan`], which multiplies.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    weights: Weights<'a>,
}

impl<'a> Linear<'a> {
    /// The layer for this matrix: [`Fragments`](crate::Fragments) or a
    /// [`CompressedMatrix`](crate::CompressedMatrix).
    pub fn new(weights: impl Into<Weights<'a>>) -> Linear<'a> {
        let weights = weights.into();
        Linear { weights }
    }

    pub(crate) fn context(&self) -> &'a Arc<CudaContext> {
        self.weights.context()
    }

    /// The shape of the matrix.
    pub const fn shape(&self) -> Shape {
        self.weights.shape()
    }

    /// The form of the matrix.
    pub const fn form(&self) -> WeightForm {
        self.weights.form()
    }

    /// The plan of this name.
    ///
    /// # Errors
    /// [`MatmulError::NoSuchPlan`] if the matrix or the device does not support the pipeline.
    pub fn plan(&self, name: impl Into<PlanName>) -> Result<Plan<'a>, MatmulError> {
        let name = name.into();
        let plan = self.by(name.pipeline);
        let plan = plan.map(|plan| plan.with_kernel(name.kernel));
        plan.map_err(|reason| MatmulError::NoSuchPlan { plan: name, reason })
    }

    /// All plans that the matrix and the device support, without those that cannot be fast for this
    /// many rows of x. Whole decodes also need cuBLASLt.
    pub fn plans(&self, batch: u32) -> Vec<Plan<'a>> {
        let pipelines = Pipeline::ALL.into_iter();
        let plans = pipelines.filter_map(|pipeline| self.by(pipeline).ok());
        plans
            .flat_map(|plan| plan.with_every_kernel(batch))
            .collect()
    }

    /// The fastest plan for this many rows of x, as measured on an H100
    /// (docs/performance/matmul.md).
    pub fn advised(&self, batch: u32) -> Plan<'a> {
        let whole_decode = WholeDecode::new(self.weights).into();
        match self.weights {
            Weights::Fragments(matrix) => {
                let has_large = matrix.kernels().large(matrix.shape()).is_some();
                match batch <= MOST_SMALL_BATCH || has_large {
                    true => Direct::new(matrix).into(),
                    false => whole_decode,
                }
            }
            Weights::Coded(matrix) => {
                let exponents = ExponentDecode::new(matrix);
                let exponents = exponents.filter(|_| batch <= MOST_PLANES_BATCH);
                exponents.map_or(whole_decode, Plan::from)
            }
        }
    }

    /// The plan by this pipeline, or why there is none.
    fn by(&self, pipeline: Pipeline) -> Result<Plan<'a>, NoPlan> {
        match (pipeline, self.weights) {
            (Pipeline::WholeDecode, weights) => Ok(WholeDecode::new(weights).into()),
            (Pipeline::Direct, Weights::Fragments(matrix)) => Ok(Direct::new(matrix).into()),
            (Pipeline::ExponentDecode, Weights::Coded(matrix)) => {
                matrix.coded_exponent()?;
                let plan = ExponentDecode::new(matrix).map(Plan::from);
                plan.ok_or(NoPlan::SharedMemory)
            }
            (Pipeline::PaletteTranscode, Weights::Coded(matrix)) => {
                matrix.coded_exponent()?;
                let plan = PaletteTranscode::new(matrix).map(Plan::from);
                plan.ok_or(NoPlan::Patches)
            }
            (_, weights) => Err(NoPlan::Form(weights.form())),
        }
    }
}
