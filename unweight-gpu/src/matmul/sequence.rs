//! Consecutive matmuls whose weights are prepared ahead.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaGraph, CudaStream, sys};

use super::{Linear, Pipeline, Workspace};
use crate::kernels::InFlight;
use crate::{Device, GpuError, View, ViewMut};

/// Number of matrices that are prepared ahead of their matmuls or in use.
const SLOTS: usize = 2;

/// One matmul of a sequence.
#[derive(Debug)]
pub struct Product<'a> {
    /// The layer.
    pub linear: Linear<'a>,
    /// The pipeline and kernel.
    pub pipeline: Pipeline,
    /// The rows of x, BF16 and row-major.
    pub x: View<'a>,
    /// The number of rows of x.
    pub batch: u32,
    /// The rows of y.
    pub y: ViewMut<'a>,
}

/// Runs matmuls in order on one stream, while another stream prepares the weights of later ones.
/// Two matrices are prepared at a time, each in a slot of the workspace, as soon as slots are free.
/// If matmuls that need preparation alternate with others, the preparation also overlaps with these
/// others ([`spread`]).
#[derive(Debug)]
pub struct Sequence {
    /// The launches, which are waited for before the workspace is freed.
    preparing: InFlight<()>,
    workspace: Workspace,
    stream: Arc<CudaStream>,
    begun: CudaEvent,
    prepared: [CudaEvent; SLOTS],
    used: [CudaEvent; SLOTS],
}

impl Sequence {
    /// A sequence with a workspace of at least two slots. Matrices are prepared on `stream`. Its
    /// priority decides which stream goes first if both have work.
    ///
    /// # Errors
    /// [`GpuError::WorkspaceTooSmall`] for a workspace with fewer slots; the errors of the driver.
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

    /// Launches all matmuls. Returns at once, with the exception of [`Linear::multiply`].
    /// Preparation begins after the earlier work on the stream is done.
    ///
    /// # Errors
    /// The errors of [`Linear::multiply`].
    ///
    /// # Safety
    /// The preconditions of [`Linear::multiply`] for every matmul, until the last is done. If the
    /// stream is capturing, this value must outlive every launch of the graph, and nothing else may
    /// be launched with it during that time.
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
                    // SAFETY: for both calls: the caller keeps the preconditions; the slot was
                    // waited for, and all preparations are on this stream.
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
                    // SAFETY: the caller keeps the preconditions; the preparation was waited for.
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

    /// Captures the launches of all matmuls once, to launch them together from then on. That takes
    /// less host time, and less device time between matmuls. Runs the matmuls first, and waits for
    /// the stream.
    ///
    /// # Errors
    /// The errors of [`Sequence::run`].
    ///
    /// # Safety
    /// The preconditions of [`Sequence::run`]. Matrices, x and y must exist until the last launch
    /// of the capture is done. The sequence is borrowed.
    pub unsafe fn capture<'s>(
        &'s mut self,
        stream: &Arc<CudaStream>,
        products: &[Product<'_>],
    ) -> Result<Captured<'s>, GpuError> {
        // This run creates everything that is created at first use.
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.run(stream, products)? };
        stream.synchronize()?;
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        // SAFETY: the caller keeps the preconditions.
        let recorded = unsafe { self.run(stream, products) };
        // The capture must end even after an error.
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

/// The captured launches of a [`Sequence`]. Dropping it waits for them.
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
    /// Launches all matmuls on the stream of their capture. Returns at once.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`Sequence::capture`].
    pub unsafe fn launch(&mut self) -> Result<(), GpuError> {
        // SAFETY: the stream's own capture has ended.
        unsafe { self.launches.launched_on(&self.stream)? };
        if let Some(graph) = self.launches.owned() {
            graph.launch()?;
        }
        Ok(())
    }
}

/// A launch of a sequence, in launch order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Prepares a matrix in the slot. `again` is true if a matmul of this run used the slot before.
    Prepare {
        product: usize,
        slot: usize,
        again: bool,
    },
    /// Multiplies, with the matrix in the slot if the matmul needs preparation.
    Multiply { product: usize, slot: Option<usize> },
}

/// The order of launches. `hard` tells which matmuls need preparation.
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

/// Selects `hard` of `count` layers to keep in a form that needs preparation. They are spread as
/// far apart as possible, with others first, so that each is prepared during the matmuls of others.
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
