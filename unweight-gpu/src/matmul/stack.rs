//! A stack of layers, run for the time that it takes.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, sys};

use super::layout::Shape;
use super::tuning::{Choice, Tuning, descend};
use super::{Fragments, Linear, Pipeline, Workspace};
use crate::{Device, GpuError, Output, Source};

/// Runs of a stack; the median counts.
const RUNS: usize = 5;

/// Layers that are run one after the other, on inputs that hold nothing in particular.
#[derive(Debug)]
pub struct Stack<'a> {
    stream: &'a Arc<CudaStream>,
    layers: Vec<(Linear<'a>, usize)>,
    /// Each once, in the order in which the layers have them.
    shapes: Vec<Shape>,
    workspace: Workspace,
    x: CudaSlice<u8>,
    y: CudaSlice<u8>,
    batch: u32,
}

impl<'a> Stack<'a> {
    /// A stack of these layers, for at most `batch` rows of x.
    ///
    /// # Errors
    /// As [`Linear::new`] and [`Workspace::new`].
    pub fn new(
        device: &'a Device,
        stream: &'a Arc<CudaStream>,
        layers: &'a [Fragments],
        batch: u32,
    ) -> Result<Stack<'a>, GpuError> {
        let mut shapes: Vec<Shape> = vec![];
        let mut of_layers = vec![];
        for fragments in layers {
            let kind = shapes.iter().position(|&shape| shape == fragments.shape());
            let kind = kind.unwrap_or_else(|| {
                shapes.push(fragments.shape());
                shapes.len() - 1
            });
            of_layers.push((Linear::new(device, fragments)?, kind));
        }
        let bytes = |side: fn(Shape) -> u64| {
            let longest = shapes.iter().map(|&shape| side(shape)).max();
            2 * batch as usize * longest.unwrap_or(0) as usize
        };
        Ok(Stack {
            stream,
            workspace: Workspace::new(device, stream, &shapes, true)?,
            x: stream.alloc_zeros(bytes(Shape::columns).max(1))?,
            y: stream.alloc_zeros(bytes(Shape::rows).max(1))?,
            layers: of_layers,
            shapes,
            batch,
        })
    }

    /// The shapes of its layers, each once.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The seconds of a run with so many rows of x and a pipeline for each of [`Stack::shapes`]: a median. Waits for the stream.
    ///
    /// # Errors
    /// As [`Linear::multiply`].
    ///
    /// # Panics
    /// If the batch is larger than the stack was made for, or there are fewer pipelines than shapes.
    pub fn seconds(&mut self, pipelines: &[Pipeline], batch: u32) -> Result<f64, GpuError> {
        assert!(batch <= self.batch);
        // The first run asks cuBLASLt for algorithms, and does not count.
        self.run(pipelines, batch)?;
        let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let mut seconds = vec![];
        for _ in 0..RUNS {
            let start = self.stream.record_event(flags)?;
            self.run(pipelines, batch)?;
            let end = self.stream.record_event(flags)?;
            seconds.push(f64::from(start.elapsed_ms(&end)?) / 1e3);
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[RUNS / 2])
    }

    fn run(&mut self, pipelines: &[Pipeline], batch: u32) -> Result<(), GpuError> {
        let stream = self.stream;
        let (x, y) = (
            Source::slice(&self.x, stream),
            Output::slice(&mut self.y, stream),
        );
        for (linear, kind) in &self.layers {
            let columns = self.shapes[*kind].columns();
            let x = x.first(u64::from(batch) * columns);
            // SAFETY: all of it is the stack's, made on its stream, and freed in the stream's order.
            unsafe {
                linear.multiply(
                    stream,
                    &mut self.workspace,
                    pipelines[*kind],
                    (&x, batch),
                    &y,
                )?;
            }
        }
        Ok(())
    }

    /// The fastest pipeline for each shape at each of these batches, by the time of the whole stack. `step` is told every time that was measured: batch,
    /// pipelines, seconds.
    ///
    /// # Errors
    /// As [`Stack::seconds`].
    pub fn tune(
        &mut self,
        device: &Device,
        batches: &[u32],
        mut step: impl FnMut(u32, &[Pipeline], f64),
    ) -> Result<Tuning, GpuError> {
        let mut choices = vec![];
        for &batch in batches {
            let advised = |kind| {
                let mut of_kind = self.layers.iter().filter(|(_, other)| *other == kind);
                let (linear, _) = of_kind.next().expect("every shape is a layer's");
                linear.advised(batch)
            };
            let start = (0..self.shapes.len()).map(advised).collect();
            let (pipelines, _) = descend(start, |pipelines| {
                let seconds = self.seconds(pipelines, batch)?;
                step(batch, pipelines, seconds);
                Ok::<_, GpuError>(seconds)
            })?;
            choices.extend(
                (self.shapes.iter().zip(pipelines)).map(|(shape, pipeline)| Choice {
                    rows: shape.rows(),
                    columns: shape.columns(),
                    batch,
                    pipeline,
                }),
            );
        }
        Ok(Tuning {
            device: device.name()?,
            choices,
        })
    }
}
