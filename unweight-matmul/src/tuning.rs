//! Choices of the fastest pipeline, as measured on a device.

use serde::{Deserialize, Serialize};

use crate::layout::Shape;
use crate::{Kernel, Pipeline, PlanName, WeightForm};

/// The smallest relative gain of a whole stack that counts as an improvement and not as noise.
const WORTHWHILE: f64 = 0.005;

/// The fastest plans on one device, as [`Stack::tune`](crate::Stack::tune) found them. They can be
/// saved as JSON (serde), and loaded without tuning again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Tuning {
    /// The device's name. Choices of another device do not apply.
    pub device: String,
    /// One choice for each form, shape and batch.
    pub choices: Vec<Choice>,
}

/// The fastest plan for matmuls of one form and shape, up to a batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Choice {
    /// Rows of W.
    pub rows: u64,
    /// Columns of W.
    pub columns: u64,
    /// The form of W in memory. Fragments if JSON has none, because older files had no other form.
    #[serde(default)]
    pub form: WeightForm,
    /// The measured number of rows of x.
    pub batch: u32,
    /// The fastest pipeline.
    pub pipeline: Pipeline,
    /// The fastest kernel for it. The estimate's if JSON has none.
    #[serde(default)]
    pub kernel: Kernel,
}

impl Choice {
    /// The name of the plan.
    pub const fn plan(&self) -> PlanName {
        PlanName {
            pipeline: self.pipeline,
            kernel: self.kernel,
        }
    }
}

impl Tuning {
    /// The name of the plan for a matmul: that of the smallest measured batch that is not smaller,
    /// or else of the largest. None for a shape that was not measured: use
    /// [`Linear::advised`](crate::Linear::advised).
    pub fn plan(&self, form: WeightForm, shape: Shape, batch: u32) -> Option<PlanName> {
        let of_shape = (self.choices.iter()).filter(|choice| {
            (choice.form, choice.rows, choice.columns) == (form, shape.rows(), shape.columns())
        });
        let enough = of_shape.clone().filter(|choice| choice.batch >= batch);
        enough
            .min_by_key(|choice| choice.batch)
            .or(of_shape.max_by_key(|choice| choice.batch))
            .map(Choice::plan)
    }
}

/// Coordinate descent. It starts at `start`, which has a plan for each kind of layer. It changes
/// one kind at a time to another of its `candidates` as long as the whole stack becomes faster.
/// `seconds` measures a whole stack. Returns the fastest choice and its time in seconds.
///
/// # Errors
/// The errors of `seconds`.
pub(crate) fn descend<P: Copy + PartialEq, E>(
    start: Vec<P>,
    candidates: &[Vec<P>],
    mut seconds: impl FnMut(&[P]) -> Result<f64, E>,
) -> Result<(Vec<P>, f64), E> {
    let mut best = seconds(&start)?;
    let mut chosen = start;
    loop {
        let before = chosen.clone();
        for (kind, candidates) in candidates.iter().enumerate() {
            for &candidate in candidates {
                let old = chosen[kind];
                if candidate == old {
                    continue;
                }
                chosen[kind] = candidate;
                let found = seconds(&chosen)?;
                if found < best * (1.0 - WORTHWHILE) {
                    best = found;
                } else {
                    chosen[kind] = old;
                }
            }
        }
        if chosen == before {
            return Ok((chosen, best));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::Pipeline::{Direct, WholeDecode};
    use super::*;

    const ALL: [Pipeline; 4] = Pipeline::ALL;

    #[test]
    fn the_descent_finds_what_is_fastest_together_and_ends() {
        // In this model whole decoding makes the second layer faster only if the first is decoded
        // whole too.
        let seconds = |pipelines: &[Pipeline]| {
            Ok::<_, Infallible>(match pipelines {
                [Direct, Direct] => 3.0,
                [WholeDecode, Direct] => 2.5,
                [WholeDecode, WholeDecode] => 2.0,
                _ => 4.0,
            })
        };
        let found = descend(vec![Direct, Direct], &[ALL.to_vec(), ALL.to_vec()], seconds).unwrap();
        assert_eq!(found, (vec![WholeDecode, WholeDecode], 2.0));
    }

    #[test]
    fn the_descent_leaves_out_what_a_kind_does_not_take() {
        let seconds = |pipelines: &[Pipeline]| {
            assert_ne!(pipelines[0], WholeDecode);
            let slow = pipelines.iter().filter(|&&pipeline| pipeline == Direct);
            Ok::<_, Infallible>(slow.count() as f64)
        };
        let candidates = [vec![Direct], ALL.to_vec()];
        let found = descend(vec![Direct, Direct], &candidates, seconds).unwrap();
        assert_eq!(found, (vec![Direct, WholeDecode], 1.0));
    }

    #[test]
    fn noise_changes_nothing_and_errors_come_through() {
        let mut time = 1.0;
        let (found, _) = descend(vec![Direct; 3], &vec![ALL.to_vec(); 3], |_| {
            time *= 0.9999;
            Ok::<_, Infallible>(time)
        })
        .unwrap();
        assert_eq!(found, vec![Direct; 3]);
        assert_eq!(descend(vec![Direct], &[ALL.to_vec()], |_| Err(7)), Err(7));
    }

    #[test]
    fn json_gives_back_what_was_saved_and_takes_nothing_else() {
        let tuning = Tuning {
            device: "a device".to_owned(),
            choices: vec![Choice {
                rows: 16,
                columns: 64,
                form: WeightForm::Coded,
                batch: 8,
                pipeline: WholeDecode,
                kernel: Kernel::SmallBatch,
            }],
        };
        let json = serde_json::to_string(&tuning).unwrap();
        assert!(json.contains(WholeDecode.name()));
        assert_eq!(serde_json::from_str::<Tuning>(&json).unwrap(), tuning);
        assert!(serde_json::from_str::<Tuning>(&json.replace("batch", "bunch")).is_err());
        let before_there_were_forms = json.replace(r#""form":"coded","#, "");
        let before_kernels = before_there_were_forms.replace(r#","kernel":"small_batch""#, "");
        let old = serde_json::from_str::<Tuning>(&before_kernels).unwrap();
        assert_eq!(old.choices[0].form, WeightForm::Fragments);
        assert_eq!(old.choices[0].kernel, Kernel::Estimated);
    }

    #[test]
    fn a_matmul_takes_the_choice_of_the_next_larger_batch() {
        let choice = |batch, pipeline| Choice {
            rows: 16,
            columns: 64,
            form: WeightForm::Fragments,
            batch,
            pipeline,
            kernel: Kernel::Estimated,
        };
        let tuning = Tuning {
            device: "a device".to_owned(),
            choices: vec![choice(64, WholeDecode), choice(8, Direct)],
        };
        let shape = Shape::new(16, 64).unwrap();
        let other = Shape::new(32, 64).unwrap();
        assert_eq!(
            tuning.plan(WeightForm::Fragments, shape, 8),
            Some(Direct.into())
        );
        assert_eq!(
            tuning.plan(WeightForm::Fragments, shape, 9),
            Some(WholeDecode.into())
        );
        assert_eq!(
            tuning.plan(WeightForm::Fragments, shape, 1000),
            Some(WholeDecode.into())
        );
        assert_eq!(tuning.plan(WeightForm::Fragments, other, 9), None);
        assert_eq!(tuning.plan(WeightForm::Coded, shape, 9), None);
    }
}
