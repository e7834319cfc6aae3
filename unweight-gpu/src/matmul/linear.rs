//! Linear layer with compressed weights.

use std::sync::Arc;

use cudarc::driver::CudaContext;

use super::kernels::DeviceKernels;
use super::layout::Shape;
use super::pipelines::{Direct, ExponentDecode, PaletteTranscode, WholeDecode};
use super::schedule::{MOST_PLANES_BATCH, MOST_SMALL_BATCH};
use super::{MatmulError, Plan, PlanName, WeightForm, Weights};
use crate::Device;

/// y = x W^T, with W in any form. It chooses a [`Plan`], which multiplies.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    kernels: DeviceKernels<'a>,
    weights: Weights<'a>,
}

impl<'a> Linear<'a> {
    /// The layer for this matrix: [`Fragments`](super::Fragments) or a
    /// [`CompressedMatrix`](super::CompressedMatrix). Loads the kernels.
    ///
    /// # Errors
    /// The errors of [`Direct::new`].
    pub fn new(
        device: &'a Device,
        weights: impl Into<Weights<'a>>,
    ) -> Result<Linear<'a>, MatmulError> {
        let weights = weights.into();
        Ok(Linear {
            kernels: DeviceKernels::new(device, weights.context())?,
            weights,
        })
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        self.kernels.device.context()
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
        let mut pipelines = self.pipelines().into_iter();
        let plan = pipelines.find(|plan| plan.name().pipeline == name.pipeline);
        let plan = plan.map(|plan| plan.with_kernel(name.kernel));
        plan.ok_or(MatmulError::NoSuchPlan(name))
    }

    /// All plans that the matrix and the device support, without those that cannot be fast for this
    /// many rows of x. Whole decodes also need cuBLASLt.
    pub fn plans(&self, batch: u32) -> Vec<Plan<'a>> {
        let pipelines = self.pipelines().into_iter();
        let plans = pipelines.flat_map(|plan| plan.with_every_kernel(batch));
        plans.collect()
    }

    /// The fastest plan for this many rows of x, as measured on an H100
    /// (docs/performance/matmul.md).
    pub fn advised(&self, batch: u32) -> Plan<'a> {
        let whole_decode = WholeDecode::of(self.kernels, self.weights).into();
        match self.weights {
            Weights::Fragments(matrix) => {
                let has_large = self.kernels.matmul.large(matrix.shape()).is_some();
                match batch <= MOST_SMALL_BATCH || has_large {
                    true => Direct::of(self.kernels, matrix).into(),
                    false => whole_decode,
                }
            }
            Weights::Coded(matrix) => {
                let exponents = ExponentDecode::of(self.kernels, matrix);
                let exponents = exponents.filter(|_| batch <= MOST_PLANES_BATCH);
                exponents.map_or(whole_decode, Plan::from)
            }
        }
    }

    /// A plan for each pipeline that the matrix and the device support.
    fn pipelines(&self) -> Vec<Plan<'a>> {
        let whole_decode = WholeDecode::of(self.kernels, self.weights).into();
        match self.weights {
            Weights::Fragments(matrix) => {
                vec![Direct::of(self.kernels, matrix).into(), whole_decode]
            }
            Weights::Coded(matrix) => {
                let exponents = ExponentDecode::of(self.kernels, matrix).map(Plan::from);
                let palette = PaletteTranscode::of(self.kernels, matrix).map(Plan::from);
                let plans = [Some(whole_decode), exponents, palette];
                plans.into_iter().flatten().collect()
            }
        }
    }
}
