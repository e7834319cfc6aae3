//! Consecutive matmuls whose weights are prepared ahead.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaGraph, CudaStream, sys};
use unweight_gpu::Device;
use unweight_gpu::kernels::InFlight;

use crate::{Activations, MatmulError, Plan, ViewMut, Workspace};

/// Number of matrices that are prepared ahead of their matmuls or in use.
const SLOTS: usize = 2;

/// One matmul of a sequence.
#[derive(Debug)]
pub struct Matmul<'a> {
    /// The matrix and its pipeline.
    pub plan: Plan<'a>,
    /// x.
    pub x: Activations<'a>,
    /// y: a row for each row of x.
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
    /// [`MatmulError::WorkspaceTooSmall`] for a workspace with fewer slots; the errors of the
    /// driver.
    pub fn new(
        device: &Device,
        stream: Arc<CudaStream>,
        workspace: Workspace,
    ) -> Result<Sequence, MatmulError> {
        if (workspace.slots() as usize) < SLOTS {
            return Err(MatmulError::WorkspaceTooSmall);
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

    pub(crate) const fn preparing_stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// The workspace.
    pub fn workspace(&mut self) -> &mut Workspace {
        &mut self.workspace
    }

    /// Launches all matmuls. Returns at once, with the exception of [`Plan::multiply`].
    /// Preparation begins after the earlier work on the stream is done.
    ///
    /// # Errors
    /// The errors of [`Plan::multiply`].
    ///
    /// # Safety
    /// The preconditions of [`Plan::multiply`] for every matmul, until the last is done. If the
    /// stream is capturing, this value must outlive every launch of the graph, and nothing else may
    /// be launched with it during that time.
    pub unsafe fn run(
        &mut self,
        stream: &Arc<CudaStream>,
        matmuls: &[Matmul<'_>],
    ) -> Result<(), MatmulError> {
        let needs_preparation: Vec<bool> = (matmuls.iter())
            .map(|matmul| matmul.plan.prepares() && matmul.x.batch > 0)
            .collect();
        if needs_preparation.contains(&true) {
            self.begun.record(stream)?;
            self.stream.wait(&self.begun)?;
        }
        for step in steps(&needs_preparation) {
            match step {
                Step::Prepare {
                    matmul,
                    slot,
                    again,
                } => {
                    if again {
                        self.stream.wait(&self.used[slot])?;
                    }
                    // SAFETY: for both calls: the caller keeps the preconditions; the slot was
                    // waited for, and all preparations are on this stream:
                    // `every_matmul_follows_its_preparation_and_slots_are_free_when_they_are_taken`.
                    unsafe {
                        self.preparing.launched_on(&self.stream)?;
                        let plan = &matmuls[matmul].plan;
                        plan.prepare(&self.stream, &self.workspace, slot as u32)?;
                    }
                    self.prepared[slot].record(&self.stream)?;
                }
                Step::Multiply { matmul, slot } => {
                    if let Some(slot) = slot {
                        stream.wait(&self.prepared[slot])?;
                    }
                    let Matmul { plan, x, y } = &matmuls[matmul];
                    let (number, workspace) = (slot.unwrap_or(0) as u32, &mut self.workspace);
                    // SAFETY: the caller keeps the preconditions; the preparation was waited for.
                    unsafe { plan.multiply_prepared(stream, workspace, number, *x, y)? };
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
        matmuls: &[Matmul<'_>],
    ) -> Result<Captured<'s>, MatmulError> {
        // This run creates everything that is created at first use.
        // SAFETY: the caller keeps the preconditions.
        unsafe { self.run(stream, matmuls)? };
        stream.synchronize()?;
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        // SAFETY: the caller keeps the preconditions.
        let recorded = unsafe { self.run(stream, matmuls) };
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
#[must_use]
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
    pub unsafe fn launch(&mut self) -> Result<(), MatmulError> {
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
        matmul: usize,
        slot: usize,
        again: bool,
    },
    /// Multiplies, with the matrix in the slot if the matmul needs preparation.
    Multiply { matmul: usize, slot: Option<usize> },
}

/// The order of launches. `needs_preparation` tells which matmuls need preparation.
fn steps(needs_preparation: &[bool]) -> impl Iterator<Item = Step> {
    let numbers: Vec<usize> = (0..needs_preparation.len())
        .filter(|&matmul| needs_preparation[matmul])
        .collect();
    let (mut next, mut done) = (0, 0);
    let steps_of = move |matmul: usize| {
        let mut steps = vec![];
        while next < numbers.len() && next < done + SLOTS {
            steps.push(Step::Prepare {
                matmul: numbers[next],
                slot: next % SLOTS,
                again: next >= SLOTS,
            });
            next += 1;
        }
        let needs = done < numbers.len() && numbers[done] == matmul;
        steps.push(Step::Multiply {
            matmul,
            slot: needs.then_some(done % SLOTS),
        });
        done += usize::from(needs);
        steps
    };
    (0..needs_preparation.len()).flat_map(steps_of)
}

/// Selects `prepared` of `count` layers to keep in a form that needs preparation. They are spread
/// as far apart as possible, with others first, so that each is prepared during the matmuls of
/// others.
///
/// # Panics
/// If `prepared` is more than `count`.
pub fn spread(count: usize, prepared: usize) -> Vec<bool> {
    assert!(prepared <= count);
    (0..count)
        .map(|layer| (layer + 1) * prepared / count > layer * prepared / count)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_matmul_follows_its_preparation_and_slots_are_free_when_they_are_taken() {
        for pattern in 0u32..1 << 9 {
            let needs_preparation: Vec<bool> = (0..9).map(|bit| pattern >> bit & 1 == 1).collect();
            let mut holds = [None; SLOTS];
            let mut taken = [false; SLOTS];
            let mut multiplied = vec![];
            for step in steps(&needs_preparation) {
                match step {
                    Step::Prepare {
                        matmul,
                        slot,
                        again,
                    } => {
                        assert_eq!(holds[slot], None, "{needs_preparation:?}");
                        assert!(needs_preparation[matmul]);
                        assert_eq!(taken[slot], again);
                        (holds[slot], taken[slot]) = (Some(matmul), true);
                    }
                    Step::Multiply { matmul, slot } => {
                        assert_eq!(slot.is_some(), needs_preparation[matmul]);
                        if let Some(slot) = slot {
                            assert_eq!(holds[slot].take(), Some(matmul));
                        }
                        multiplied.push(matmul);
                    }
                }
            }
            assert_eq!(multiplied, (0..9).collect::<Vec<_>>());
            assert_eq!(holds, [None; SLOTS]);
        }
    }

    #[test]
    fn two_matrices_are_prepared_before_the_first_matmul() {
        let first: Vec<Step> = steps(&[false, true, true, true]).take(3).collect();
        let prepare = |matmul, slot| Step::Prepare {
            matmul,
            slot,
            again: false,
        };
        let multiply = Step::Multiply {
            matmul: 0,
            slot: None,
        };
        assert_eq!(first, [prepare(1, 0), prepare(2, 1), multiply]);
    }

    #[test]
    fn prepared_layers_are_spread_and_the_first_is_easy_if_any_is() {
        for count in 0..20 {
            for prepared in 0..=count {
                let spread = spread(count, prepared);
                assert_eq!(
                    spread.iter().filter(|&&prepared| prepared).count(),
                    prepared
                );
                assert!(prepared == count || !spread[0]);
                if 2 * prepared <= count {
                    assert!(!spread.windows(2).any(|pair| pair == [true, true]));
                }
            }
        }
    }
}
