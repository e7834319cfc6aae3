//! Products one after the other, whose weights are prepared ahead.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaGraph, CudaStream, sys};

use super::{Linear, Pipeline, Workspace};
use crate::in_flight::InFlight;
use crate::{Device, GpuError, View, ViewMut};

/// Matrices that are prepared ahead of their products, or in use.
const SLOTS: usize = 2;

/// One product of a sequence.
#[derive(Debug)]
pub struct Product<'a> {
    /// The layer.
    pub linear: Linear<'a>,
    /// How.
    pub pipeline: Pipeline,
    /// Rows of x, BF16 and row-major.
    pub x: View<'a>,
    /// How many.
    pub batch: u32,
    /// Rows of y.
    pub y: ViewMut<'a>,
}

/// Runs products in their order on one stream, while the weights of those to come are prepared on another: two of them at a time, each in a slot of the
/// workspace, as far ahead as slots are free. Where products that need preparation alternate with others, the preparation has the time of these too
/// ([`spread`]).
#[derive(Debug)]
pub struct Sequence {
    /// Waits for what is prepared, before the workspace is given up.
    preparing: InFlight<()>,
    workspace: Workspace,
    stream: Arc<CudaStream>,
    begun: CudaEvent,
    prepared: [CudaEvent; SLOTS],
    used: [CudaEvent; SLOTS],
}

impl Sequence {
    /// With a workspace of two slots or more. Matrices are prepared on `stream`; its priority decides who goes first where both streams have work.
    ///
    /// # Errors
    /// [`GpuError::WorkspaceTooSmall`] for a workspace of fewer slots; the driver's.
    pub fn new(
        device: &Device,
        stream: Arc<CudaStream>,
        workspace: Workspace,
    ) -> Result<Sequence, GpuError> {
        if (workspace.slots() as usize) < SLOTS {
            return Err(GpuError::WorkspaceTooSmall);
        }
        let event = || device.context().new_event(None);
        Ok(Sequence {
            preparing: InFlight::new(device.context(), ()),
            workspace,
            stream,
            begun: event()?,
            prepared: [event()?, event()?],
            used: [event()?, event()?],
        })
    }

    pub(super) const fn preparing_stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// The workspace.
    pub fn workspace(&mut self) -> &mut Workspace {
        &mut self.workspace
    }

    /// Launches all of them. Returns at once, but as [`Linear::multiply`] does. Nothing is prepared before what is in front on the stream is done.
    ///
    /// # Errors
    /// As [`Linear::multiply`].
    ///
    /// # Safety
    /// As [`Linear::multiply`], of every product, until the last is done. If the stream is capturing, this outlives every launch of the graph, and nothing else
    /// is launched with it meanwhile.
    pub unsafe fn run(
        &mut self,
        stream: &Arc<CudaStream>,
        products: &[Product<'_>],
    ) -> Result<(), GpuError> {
        let hard: Vec<bool> = (products.iter())
            .map(|product| product.pipeline.prepares() && product.batch > 0)
            .collect();
        if hard.contains(&true) {
            self.begun.record(stream)?;
            self.stream.wait(&self.begun)?;
        }
        for step in steps(&hard) {
            match step {
                Step::Prepare {
                    product,
                    slot,
                    again,
                } => {
                    if again {
                        self.stream.wait(&self.used[slot])?;
                    }
                    let Product {
                        linear, pipeline, ..
                    } = &products[product];
                    // SAFETY: of both: the caller's; the slot was waited for, and what is prepared is all on this stream.
                    unsafe {
                        self.preparing.launched_on(&self.stream)?;
                        linear.prepare(&self.stream, &self.workspace, slot as u32, *pipeline)?;
                    }
                    self.prepared[slot].record(&self.stream)?;
                }
                Step::Multiply { product, slot } => {
                    if let Some(slot) = slot {
                        stream.wait(&self.prepared[slot])?;
                    }
                    let Product {
                        linear,
                        pipeline,
                        x,
                        batch,
                        y,
                    } = &products[product];
                    let (number, workspace) = (slot.unwrap_or(0) as u32, &mut self.workspace);
                    // SAFETY: the caller's; what was prepared was waited for.
                    unsafe {
                        linear.multiply_prepared(
                            stream,
                            workspace,
                            number,
                            *pipeline,
                            (x, *batch),
                            y,
                        )?;
                    }
                    if let Some(slot) = slot {
                        self.used[slot].record(stream)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Records the launches of all of them once, to be launched together from then on: that takes less of the host's time, and of the device's between
    /// products. Runs them first, and waits for the stream.
    ///
    /// # Errors
    /// As [`Sequence::run`].
    ///
    /// # Safety
    /// As [`Sequence::run`]: matrices, x and y are there until the last launch of what was captured is done. The sequence is borrowed.
    pub unsafe fn capture<'s>(
        &'s mut self,
        stream: &Arc<CudaStream>,
        products: &[Product<'_>],
    ) -> Result<Captured<'s>, GpuError> {
        // Whatever is made at first use is made by this run.
        // SAFETY: the caller's.
        unsafe { self.run(stream, products)? };
        stream.synchronize()?;
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        // SAFETY: the caller's.
        let recorded = unsafe { self.run(stream, products) };
        // Whatever became of that, the stream is to be free again.
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let graph = stream.end_capture(flags);
        recorded?;
        Ok(Captured {
            launches: InFlight::new(stream.context(), graph?),
            stream: stream.clone(),
            _sequence: self,
        })
    }
}

/// Launches of a [`Sequence`], recorded. Dropping it waits for them.
pub struct Captured<'s> {
    launches: InFlight<Option<CudaGraph>>,
    stream: Arc<CudaStream>,
    _sequence: &'s mut Sequence,
}

impl std::fmt::Debug for Captured<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Captured").finish_non_exhaustive()
    }
}

impl Captured<'_> {
    /// Launches all products, on the stream that they were captured on. Returns at once.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Safety
    /// As [`Sequence::capture`].
    pub unsafe fn launch(&mut self) -> Result<(), GpuError> {
        // SAFETY: the stream's own capture has ended.
        unsafe { self.launches.launched_on(&self.stream)? };
        if let Some(graph) = self.launches.owned() {
            graph.launch()?;
        }
        Ok(())
    }
}

/// What is launched, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Into the slot, `again` if a product of this run used it before.
    Prepare {
        product: usize,
        slot: usize,
        again: bool,
    },
    /// With what is in the slot, if the product needs preparation.
    Multiply { product: usize, slot: Option<usize> },
}

/// `hard` says which products need preparation.
fn steps(hard: &[bool]) -> impl Iterator<Item = Step> {
    let numbers: Vec<usize> = (0..hard.len()).filter(|&product| hard[product]).collect();
    let (mut next, mut done) = (0, 0);
    let steps_of = move |product: usize| {
        let mut steps = vec![];
        while next < numbers.len() && next < done + SLOTS {
            steps.push(Step::Prepare {
                product: numbers[next],
                slot: next % SLOTS,
                again: next >= SLOTS,
            });
            next += 1;
        }
        let needs = done < numbers.len() && numbers[done] == product;
        steps.push(Step::Multiply {
            product,
            slot: needs.then_some(done % SLOTS),
        });
        done += usize::from(needs);
        steps
    };
    (0..hard.len()).flat_map(steps_of)
}

/// Which of `count` layers to keep in a form that needs preparation, if `hard` of them are to be: as far from one another as can be, and the first ones easy,
/// so that each is prepared while easy ones multiply.
///
/// # Panics
/// If `hard` is more than `count`.
pub fn spread(count: usize, hard: usize) -> Vec<bool> {
    assert!(hard <= count);
    (0..count)
        .map(|layer| (layer + 1) * hard / count > layer * hard / count)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_follows_its_preparation_and_slots_are_free_when_they_are_taken() {
        for pattern in 0u32..1 << 9 {
            let hard: Vec<bool> = (0..9).map(|bit| pattern >> bit & 1 == 1).collect();
            let mut holds = [None; SLOTS];
            let mut taken = [false; SLOTS];
            let mut multiplied = vec![];
            for step in steps(&hard) {
                match step {
                    Step::Prepare {
                        product,
                        slot,
                        again,
                    } => {
                        assert_eq!(holds[slot], None, "{hard:?}");
                        assert!(hard[product]);
                        assert_eq!(taken[slot], again);
                        (holds[slot], taken[slot]) = (Some(product), true);
                    }
                    Step::Multiply { product, slot } => {
                        assert_eq!(slot.is_some(), hard[product]);
                        if let Some(slot) = slot {
                            assert_eq!(holds[slot].take(), Some(product));
                        }
                        multiplied.push(product);
                    }
                }
            }
            assert_eq!(multiplied, (0..9).collect::<Vec<_>>());
            assert_eq!(holds, [None; SLOTS]);
        }
    }

    #[test]
    fn two_matrices_are_prepared_before_the_first_product() {
        let first: Vec<Step> = steps(&[false, true, true, true]).take(3).collect();
        let prepare = |product, slot| Step::Prepare {
            product,
            slot,
            again: false,
        };
        let multiply = Step::Multiply {
            product: 0,
            slot: None,
        };
        assert_eq!(first, [prepare(1, 0), prepare(2, 1), multiply]);
    }

    #[test]
    fn hard_layers_are_spread_and_the_first_is_easy_if_any_is() {
        for count in 0..20 {
            for hard in 0..=count {
                let spread = spread(count, hard);
                assert_eq!(spread.iter().filter(|&&hard| hard).count(), hard);
                assert!(hard == count || !spread[0]);
                if 2 * hard <= count {
                    assert!(!spread.windows(2).any(|pair| pair == [true, true]));
                }
            }
        }
    }
}
