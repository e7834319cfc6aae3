//! A stack of layers, whose plans are tuned by the time of the whole stack.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, sys};
use unweight_gpu::Device;
use unweight_gpu::kernels::{WaitAtEnd, require_context};

use crate::layout::Shape;
use crate::tuning::{Choice, Tuning, descend};
use crate::{
    Activations, Linear, Matmul, MatmulError, PlanName, Sequence, View, ViewMut, WeightForm,
    Workspace, WorkspaceLayout,
};

/// Number of runs of a stack. The result is their median.
const RUNS: usize = 5;

/// Layers that run one after the other, on inputs of arbitrary content. Preparations run ahead of
/// their matmuls.
#[derive(Debug)]
pub struct Stack<'a> {
    sequence: Sequence,
    /// The stream is private, so nobody captures it.
    stream: Arc<CudaStream>,
    /// The layers in order.
    layers: Vec<Layer<'a>>,
    /// The distinct kinds, in the order of the layers.
    kinds: Vec<Kind>,
    x: CudaSlice<u8>,
    y: CudaSlice<u8>,
    batch: u32,
}

/// A kind of layer. Layers of the same kind use the same plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    form: WeightForm,
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
struct Layer<'a> {
    linear: Linear<'a>,
    /// The index of its kind.
    kind: usize,
}

/// A measurement of a stack while it is tuned.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TuningStep<'s> {
    /// The number of rows of x.
    pub batch: u32,
    /// A plan for each kind of layer.
    pub plans: &'s [PlanName],
    /// The median time of a run in seconds.
    pub seconds: f64,
}

impl<'a> Stack<'a> {
    /// A stack of these layers for at most `batch` rows of x.
    ///
    /// # Errors
    /// [`GpuError::OtherContext`](unweight_gpu::GpuError::OtherContext) for layers of another
    /// device; the errors of [`WorkspaceLayout::new`] and [`Workspace::with_layout`].
    pub fn new(
        device: &Device,
        linears: Vec<Linear<'a>>,
        batch: u32,
    ) -> Result<Stack<'a>, MatmulError> {
        let (mut kinds, mut layers): (Vec<Kind>, Vec<Layer<'a>>) = (vec![], vec![]);
        for linear in linears {
            require_context(linear.context(), device.context())?;
            let kind = Kind {
                form: linear.form(),
                shape: linear.shape(),
            };
            let known = kinds.iter().position(|&other| other == kind);
            let kind = known.unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            });
            layers.push(Layer { linear, kind });
        }
        let bytes = |side: fn(Shape) -> u64| {
            let longest = kinds.iter().map(|kind| side(kind.shape)).max();
            2 * batch as usize * longest.unwrap_or(0) as usize
        };
        let plans = layers.iter().flat_map(|layer| layer.linear.plans(batch));
        let needs: Vec<_> = plans.map(|plan| plan.workspace_need()).collect();
        let layout = WorkspaceLayout::new(device, &needs, 2)?;
        let stream = device.stream()?;
        let workspace = Workspace::with_layout(&stream, layout)?;
        let (x, y) = (
            stream.alloc_zeros(bytes(Shape::columns).max(1))?,
            stream.alloc_zeros(bytes(Shape::rows).max(1))?,
        );
        // The stream of the preparations waits for the allocations on this one.
        stream.synchronize()?;
        Ok(Stack {
            sequence: Sequence::new(device, device.stream()?, workspace)?,
            stream,
            layers,
            kinds,
            x,
            y,
            batch,
        })
    }

    /// The fastest plan for each kind of layer (form and shape) at each of these batches, by the
    /// time of the whole stack. `step` gets every measurement. Waits for all runs.
    ///
    /// # Errors
    /// The errors of [`Plan::multiply`](crate::Plan::multiply).
    ///
    /// # Panics
    /// If a batch is larger than the stack was created for.
    pub fn tune(
        &mut self,
        device: &Device,
        batches: &[u32],
        mut step: impl FnMut(TuningStep<'_>),
    ) -> Result<Tuning, MatmulError> {
        let mut choices = vec![];
        for &batch in batches {
            let kinds = 0..self.kinds.len();
            let (advised, candidates): (Vec<_>, Vec<_>) =
                kinds.map(|kind| self.candidates(kind, batch)).unzip();
            let (chosen, _) = descend(advised, &candidates, |plans| {
                let seconds = self.seconds(plans, batch)?;
                step(TuningStep {
                    batch,
                    plans,
                    seconds,
                });
                Ok::<_, MatmulError>(seconds)
            })?;
            choices.extend((self.kinds.iter().zip(chosen)).map(|(kind, plan)| Choice {
                rows: kind.shape.rows(),
                columns: kind.shape.columns(),
                form: kind.form,
                batch,
                pipeline: plan.pipeline,
                kernel: plan.kernel,
            }));
        }
        Ok(Tuning {
            device: device.name()?,
            choices,
        })
    }

    /// The advised plan of a kind, and all plans that each of its layers supports.
    fn candidates(&self, kind: usize, batch: u32) -> (PlanName, Vec<PlanName>) {
        let mut linears = self.layers.iter().filter(|layer| layer.kind == kind);
        let first = linears.next().expect("a kind has a layer").linear;
        let mut candidates: Vec<_> = first.plans(batch).iter().map(|plan| plan.name()).collect();
        for layer in linears {
            candidates.retain(|&name| layer.linear.plan(name).is_ok());
        }
        (first.advised(batch).name(), candidates)
    }

    /// The median time of a run in seconds, with this many rows of x and a plan for each kind.
    ///
    /// # Errors
    /// [`MatmulError::NoSuchPlan`]; the errors of [`Plan::multiply`](crate::Plan::multiply).
    ///
    /// # Panics
    /// If the batch is larger than the stack was created for, or there are fewer plans than kinds.
    fn seconds(&mut self, plans: &[PlanName], batch: u32) -> Result<f64, MatmulError> {
        assert!(batch <= self.batch);
        let (stream, preparing) = (&self.stream, self.sequence.preparing_stream().clone());
        // Layers are borrowed from the caller, who may use them after this returns, also after an
        // error.
        let _waiting = [WaitAtEnd(&preparing), WaitAtEnd(stream)];
        let (x, y) = (
            View::slice(&self.x, stream),
            ViewMut::slice(&mut self.y, stream),
        );
        let matmuls = self.layers.iter().map(|&Layer { linear, kind }| {
            let values = x.first(u64::from(batch) * linear.shape().columns());
            Ok(Matmul {
                plan: linear.plan(plans[kind])?,
                x: Activations { values, batch },
                y: y.whole(),
            })
        });
        let matmuls = matmuls.collect::<Result<Vec<_>, MatmulError>>()?;
        let sequence = &mut self.sequence;
        // SAFETY: the stack owns or borrows all memory, which was created on its stream or waited
        // for, and this function waits on every return.
        let mut run = || unsafe { sequence.run(stream, &matmuls) };
        // The first run asks cuBLASLt for algorithms, so it is not counted.
        run()?;
        let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let mut seconds = vec![];
        for _ in 0..RUNS {
            let start = stream.record_event(flags)?;
            run()?;
            let end = stream.record_event(flags)?;
            seconds.push(f64::from(start.elapsed_ms(&end)?) / 1e3);
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[RUNS / 2])
    }
}
