//! A stack of layers, run for the time that it takes.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, sys};

use super::layout::Shape;
use super::tuning::{Choice, Tuning, descend};
use super::{
    Coded, Form, Fragments, Linear, Pipeline, Product, Sequence, Way, Workspace, WorkspacePlan,
};
use crate::in_flight::{WaitAtEnd, require_context};
use crate::{Device, GpuError, View, ViewMut};

/// Runs of a stack; the median counts.
const RUNS: usize = 5;

/// Layers of the same form and shape have the same pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The form.
    pub form: Form,
    /// The shape.
    pub shape: Shape,
}

/// Layers that are run one after the other, on inputs that hold nothing in particular. What they need prepared is prepared ahead.
#[derive(Debug)]
pub struct Stack<'a> {
    sequence: Sequence,
    /// Nobody else has it, so nobody captures it.
    stream: Arc<CudaStream>,
    layers: Vec<(Linear<'a>, usize)>,
    /// Each once, in the order in which the layers have them.
    kinds: Vec<Kind>,
    /// A layer of each.
    of_kinds: Vec<Linear<'a>>,
    x: CudaSlice<u8>,
    y: CudaSlice<u8>,
    batch: u32,
}

impl<'a> Stack<'a> {
    /// A stack of these layers, for at most `batch` rows of x.
    ///
    /// # Errors
    /// As [`Linear::new`] and [`Workspace::planned`]; [`GpuError::OtherContext`] for layers of another device.
    pub fn new(
        device: &'a Device,
        layers: &'a [Fragments],
        batch: u32,
    ) -> Result<Stack<'a>, GpuError> {
        let layers = layers.iter().map(|layer| Linear::new(device, layer));
        Stack::of(device, layers.collect::<Result<_, _>>()?, batch)
    }

    /// As [`Stack::new`], of coded layers.
    ///
    /// # Errors
    /// As [`Stack::new`].
    pub fn of_coded(
        device: &'a Device,
        layers: &'a [Coded],
        batch: u32,
    ) -> Result<Stack<'a>, GpuError> {
        let layers = layers.iter().map(|layer| Linear::of_coded(device, layer));
        Stack::of(device, layers.collect::<Result<_, _>>()?, batch)
    }

    /// As [`Stack::new`], of layers in any form.
    ///
    /// # Errors
    /// As [`Stack::new`].
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
        // What is prepared on another stream is behind what was made on this one.
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

    /// The forms and shapes of its layers, each once.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The seconds of a run with so many rows of x and a way for each of [`Stack::kinds`]: a median. Waits for all runs.
    ///
    /// # Errors
    /// As [`Linear::multiply`].
    ///
    /// # Panics
    /// If the batch is larger than the stack was made for, or there are fewer ways than kinds.
    pub fn seconds(&mut self, ways: &[Way], batch: u32) -> Result<f64, GpuError> {
        assert!(batch <= self.batch);
        let (stream, preparing) = (&self.stream, self.sequence.preparing_stream().clone());
        // Layers are borrowed from the caller, who has them back when this returns, with an error too.
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
        // SAFETY: all of it is the stack's or borrowed by it, made on its stream or waited for, and this waits on whatever way it returns.
        let mut run = || unsafe { sequence.run(stream, &products) };
        // The first run asks cuBLASLt for algorithms, and does not count.
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

    /// The fastest way for each kind at each of these batches, by the time of the whole stack. `step` is told every time that was measured: batch, ways,
    /// seconds.
    ///
    /// # Errors
    /// As [`Stack::seconds`].
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
