//! A stack of layers for time measurements.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, sys};

use super::layout::Shape;
use super::tuning::{Choice, Tuning, descend};
use super::{
    Coded, Form, Fragments, Linear, Pipeline, Product, Sequence, Way, Workspace, WorkspacePlan,
};
use crate::kernels::{WaitAtEnd, require_context};
use crate::{Device, GpuError, View, ViewMut};

/// Number of runs of a stack. The result is their median.
const RUNS: usize = 5;

/// A kind of layer. Layers of the same form and shape use the same pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The form of the matrix.
    pub form: Form,
    /// The shape of the matrix.
    pub shape: Shape,
}

/// Layers that run one after the other, on inputs of arbitrary content. Preparations run ahead of
/// their matmuls.
#[derive(Debug)]
pub struct Stack<'a> {
    sequence: Sequence,
    /// The stream is private, so nobody captures it.
    stream: Arc<CudaStream>,
    layers: Vec<(Linear<'a>, usize)>,
    /// The distinct kinds, in the order of the layers.
    kinds: Vec<Kind>,
    /// One layer of each kind.
    of_kinds: Vec<Linear<'a>>,
    x: CudaSlice<u8>,
    y: CudaSlice<u8>,
    batch: u32,
}

impl<'a> Stack<'a> {
    /// A stack of these layers for at most `batch` rows of x.
    ///
    /// # Errors
    /// The errors of [`Linear::new`] and [`Workspace::planned`]; [`GpuError::OtherContext`] for
    /// layers of another device.
    pub fn new(
        device: &'a Device,
        layers: &'a [Fragments],
        batch: u32,
    ) -> Result<Stack<'a>, GpuError> {
        let layers = layers.iter().map(|layer| Linear::new(device, layer));
        Stack::of(device, layers.collect::<Result<_, _>>()?, batch)
    }

    /// Same as [`Stack::new`], but for coded layers.
    ///
    /// # Errors
    /// The errors of [`Stack::new`].
    pub fn of_coded(
        device: &'a Device,
        layers: &'a [Coded],
        batch: u32,
    ) -> Result<Stack<'a>, GpuError> {
        let layers = layers.iter().map(|layer| Linear::of_coded(device, layer));
        Stack::of(device, layers.collect::<Result<_, _>>()?, batch)
    }

    /// Same as [`Stack::new`], but for layers in any form.
    ///
    /// # Errors
    /// The errors of [`Stack::new`].
    pub fn of(
        device: &'a Device,
        layers: Vec<Linear<'a>>,
        batch: u32,
    ) -> Result<Stack<'a>, GpuError> {
        let (mut kinds, mut of_kinds): (Vec<Kind>, Vec<Linear<'a>>) = (vec![], vec![]);
        let mut of_layers = vec![];
        for linear in layers {
            require_context(linear.context(), device.context())?;
            let kind = Kind {
                form: linear.form(),
                shape: linear.shape(),
            };
            let known = kinds.iter().position(|&other| other == kind);
            let number = known.unwrap_or_else(|| {
                kinds.push(kind);
                of_kinds.push(linear);
                kinds.len() - 1
            });
            of_layers.push((linear, number));
        }
        let bytes = |side: fn(Shape) -> u64| {
            let longest = kinds.iter().map(|kind| side(kind.shape)).max();
            2 * batch as usize * longest.unwrap_or(0) as usize
        };
        let products = of_layers.iter().flat_map(|(linear, _)| {
            let taken = Pipeline::ALL
                .into_iter()
                .filter(|&pipeline| linear.takes(pipeline));
            taken.map(|pipeline| (linear.shape(), pipeline))
        });
        let plan = WorkspacePlan::new(device, &products.collect::<Vec<_>>(), 2)?;
        let stream = device.stream()?;
        let workspace = Workspace::planned(&stream, plan)?;
        let (x, y) = (
            stream.alloc_zeros(bytes(Shape::columns).max(1))?,
            stream.alloc_zeros(bytes(Shape::rows).max(1))?,
        );
        // The stream of the preparations waits for the allocations on this one.
        stream.synchronize()?;
        Ok(Stack {
            sequence: Sequence::new(device, device.stream()?, workspace)?,
            stream,
            x,
            y,
            layers: of_layers,
            kinds,
            of_kinds,
            batch,
        })
    }

    /// The distinct forms and shapes of the layers.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The median time of a run in seconds, with this many rows of x and a choice for each of
    /// [`Stack::kinds`]. Waits for all runs.
    ///
    /// # Errors
    /// The errors of [`Linear::multiply`].
    ///
    /// # Panics
    /// If the batch is larger than the stack was created for, or there are fewer choices than
    /// kinds.
    pub fn seconds(&mut self, ways: &[Way], batch: u32) -> Result<f64, GpuError> {
        assert!(batch <= self.batch);
        let (stream, preparing) = (&self.stream, self.sequence.preparing_stream().clone());
        // Layers are borrowed from the caller, who may use them after this returns, also after an
        // error.
        let _waiting = [WaitAtEnd(&preparing), WaitAtEnd(stream)];
        let (x, y) = (
            View::slice(&self.x, stream),
            ViewMut::slice(&mut self.y, stream),
        );
        let products: Vec<Product<'_>> = (self.layers.iter())
            .map(|&(linear, kind)| Product {
                linear: linear.with_kernel(ways[kind].kernel),
                pipeline: ways[kind].pipeline,
                x: x.first(u64::from(batch) * linear.shape().columns()),
                batch,
                y: y.whole(),
            })
            .collect();
        let sequence = &mut self.sequence;
        // SAFETY: the stack owns or borrows all memory, which was created on its stream or waited
        // for, and this function waits on every return.
        let mut run = || unsafe { sequence.run(stream, &products) };
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

    /// The fastest choice for each kind at each of these batches, by the time of the whole stack.
    /// `step` gets every measurement: batch, choices, seconds.
    ///
    /// # Errors
    /// The errors of [`Stack::seconds`].
    pub fn tune(
        &mut self,
        device: &Device,
        batches: &[u32],
        mut step: impl FnMut(u32, &[Way], f64),
    ) -> Result<Tuning, GpuError> {
        let mut choices = vec![];
        let of_kinds = self.of_kinds.clone();
        for &batch in batches {
            let advised = of_kinds.iter().map(|linear| linear.advised(batch).into());
            let all: Vec<_> = of_kinds.iter().map(|linear| linear.ways(batch)).collect();
            let (chosen, _) = descend(advised.collect(), &all, |ways| {
                let seconds = self.seconds(ways, batch)?;
                step(batch, ways, seconds);
                Ok::<_, GpuError>(seconds)
            })?;
            choices.extend((self.kinds.iter().zip(chosen)).map(|(kind, way)| Choice {
                rows: kind.shape.rows(),
                columns: kind.shape.columns(),
                form: kind.form,
                batch,
                pipeline: way.pipeline,
                kernel: way.kernel,
            }));
        }
        Ok(Tuning {
            device: device.name()?,
            choices,
        })
    }
}
