//! Slices of tensors: which indices of each dimension are read, and where their bytes are.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;

/// The indices of one dimension that a slice of a tensor takes: every `step`th one of a range.
///
/// ```
/// use std::num::NonZeroU64;
/// use unweight::Indices;
///
/// let even = Indices::from(0..5).every(NonZeroU64::new(2).unwrap());
/// assert_eq!(even.count(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indices {
    start: u64,
    end: u64,
    step: NonZeroU64,
}

impl From<Range<u64>> for Indices {
    /// All indices of the range. A range that ends before it starts is empty.
    fn from(range: Range<u64>) -> Indices {
        Indices {
            start: range.start,
            end: range.end.max(range.start),
            step: NonZeroU64::MIN,
        }
    }
}

impl Indices {
    /// The first of these indices, and every `step`th one after it.
    pub const fn every(self, step: NonZeroU64) -> Indices {
        Indices { step, ..self }
    }

    /// The number of indices.
    pub const fn count(self) -> u64 {
        (self.end - self.start).div_ceil(self.step.get())
    }
}

/// Why a slice does not fit its tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SliceProblem {
    /// The slice has another number of dimensions than the tensor.
    Rank {
        /// The dimensions of the slice.
        found: usize,
        /// The dimensions of the tensor.
        expected: usize,
    },
    /// The indices end behind the dimension.
    End {
        /// The number of the dimension, counted from 0, outermost first.
        dimension: usize,
        /// The end of the indices.
        end: u64,
        /// The length of the dimension.
        length: u64,
    },
    /// Elements are shorter than a byte, and the slice takes a part of the elements of a byte.
    PartOfByte,
}

impl fmt::Display for SliceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SliceProblem::Rank { found, expected } => {
                write!(
                    f,
                    "the slice has {found} dimensions, the tensor has {expected}"
                )
            }
            SliceProblem::End {
                dimension,
                end,
                length,
            } => write!(
                f,
                "the slice ends at {end} in dimension {dimension}, which has length {length}"
            ),
            SliceProblem::PartOfByte => f.write_str(
                "the slice begins or ends within a byte that holds several elements; \
                 take whole bytes",
            ),
        }
    }
}

/// The bytes of a slice as runs of equal length, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runs {
    /// Offset of the first run.
    first: u64,
    /// Length of every run.
    run_bytes: u64,
    /// Number of runs.
    count: u64,
    /// The dimensions whose indices begin a new run, innermost first.
    outer: Vec<Outer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outer {
    count: u64,
    /// Bytes between the runs of two consecutive indices.
    stride: u64,
}

impl Runs {
    /// The runs of a slice of a tensor with elements of this many bits.
    pub(crate) fn new(shape: &[u64], bits: u64, slice: &[Indices]) -> Result<Runs, SliceProblem> {
        if slice.len() != shape.len() {
            return Err(SliceProblem::Rank {
                found: slice.len(),
                expected: shape.len(),
            });
        }
        for (dimension, (indices, &length)) in slice.iter().zip(shape).enumerate() {
            let end = indices.end;
            if end > length {
                return Err(SliceProblem::End {
                    dimension,
                    end,
                    length,
                });
            }
        }
        if slice.iter().any(|indices| indices.count() == 0) {
            return Ok(Runs {
                first: 0,
                run_bytes: 0,
                count: 0,
                outer: Vec::new(),
            });
        }
        // In bits: where the slice begins, the length of a run, and of one index of a dimension.
        let (mut first, mut run, mut index) = (0, bits, bits);
        let mut count = 1;
        let mut outer: Vec<Outer> = Vec::new();
        for (indices, &length) in slice.iter().zip(shape).rev() {
            let taken = indices.count();
            first += indices.start * index;
            // The runs of neighbouring indices join if they take all of the dimensions within.
            let joins = outer.is_empty() && run == index && indices.step == NonZeroU64::MIN;
            if joins {
                run = taken * index;
            } else if taken > 1 {
                count *= taken;
                outer.push(Outer {
                    count: taken,
                    stride: indices.step.get() * index,
                });
            }
            index *= length;
        }
        let strides = outer.iter().map(|outer| outer.stride);
        if strides.chain([first, run]).any(|bits| bits % 8 != 0) {
            return Err(SliceProblem::PartOfByte);
        }
        outer.iter_mut().for_each(|outer| outer.stride /= 8);
        Ok(Runs {
            first: first / 8,
            run_bytes: run / 8,
            count,
            outer,
        })
    }

    /// The number of bytes of all runs.
    pub(crate) fn bytes(&self) -> u64 {
        self.count * self.run_bytes
    }

    /// The range of bytes of the tensor, if the slice is a single one.
    pub(crate) fn only(&self) -> Option<Range<u64>> {
        (self.count <= 1).then(|| self.first..self.first + self.bytes())
    }

    /// The offset in the tensor of byte `position` of the slice.
    pub(crate) fn offset(&self, position: u64) -> u64 {
        self.start(position / self.run_bytes) + position % self.run_bytes
    }

    /// The first position of the slice at or after `from` whose offset in the tensor is not below
    /// `end`.
    pub(crate) fn position_of_end(&self, from: u64, end: u64) -> u64 {
        let (mut low, mut high) = (from / self.run_bytes, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.start(middle) < end {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        // The run before this one may end behind `end`.
        match low.checked_sub(1) {
            Some(last) => {
                let bytes = (end - self.start(last)).min(self.run_bytes);
                (last * self.run_bytes + bytes).max(from)
            }
            None => from,
        }
    }

    /// The parts of runs at these positions of the slice: the offset in the tensor, and the length.
    pub(crate) fn parts(&self, positions: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
        let mut at = positions.start;
        std::iter::from_fn(move || {
            if at >= positions.end {
                return None;
            }
            let in_run = at % self.run_bytes;
            let length = (self.run_bytes - in_run).min(positions.end - at);
            let part = (self.start(at / self.run_bytes) + in_run, length);
            at += length;
            Some(part)
        })
    }

    /// The offset of a run.
    fn start(&self, mut run: u64) -> u64 {
        let mut start = self.first;
        for outer in &self.outer {
            start += run % outer.count * outer.stride;
            run /= outer.count;
        }
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(start: u64, end: u64, step: u64) -> Indices {
        Indices::from(start..end).every(NonZeroU64::new(step).unwrap())
    }

    fn runs(shape: &[u64], bits: u64, slice: &[Indices]) -> Runs {
        Runs::new(shape, bits, slice).unwrap()
    }

    /// The offsets of the bytes of a slice, one by one.
    fn offsets(runs: &Runs) -> Vec<u64> {
        let parts = runs.parts(0..runs.bytes());
        parts
            .flat_map(|(offset, length)| offset..offset + length)
            .collect()
    }

    #[test]
    fn runs_are_the_bytes_of_the_elements_in_order() {
        let shape = [3, 4, 5];
        for slice in [
            [indices(0, 3, 1), indices(0, 4, 1), indices(0, 5, 1)],
            [indices(1, 3, 1), indices(0, 4, 1), indices(0, 5, 1)],
            [indices(0, 3, 1), indices(1, 3, 1), indices(0, 5, 1)],
            [indices(0, 3, 2), indices(0, 4, 1), indices(0, 5, 1)],
            [indices(0, 3, 1), indices(0, 4, 3), indices(1, 5, 1)],
            [indices(2, 3, 1), indices(3, 4, 1), indices(0, 5, 2)],
            [indices(0, 3, 2), indices(1, 4, 2), indices(1, 4, 2)],
        ] {
            let mut expected = Vec::new();
            let of = |indices: &Indices| {
                (indices.start..indices.end).step_by(indices.step.get() as usize)
            };
            for i in of(&slice[0]) {
                for j in of(&slice[1]) {
                    for k in of(&slice[2]) {
                        let element = (i * 4 + j) * 5 + k;
                        expected.extend([2 * element, 2 * element + 1]);
                    }
                }
            }
            let runs = runs(&shape, 16, &slice);
            assert_eq!(offsets(&runs), expected, "{slice:?}");
            for (position, &offset) in expected.iter().enumerate() {
                assert_eq!(runs.offset(position as u64), offset);
            }
            for end in 0..=120 {
                let before = expected.iter().filter(|&&offset| offset < end).count() as u64;
                assert_eq!(
                    runs.position_of_end(0, end),
                    before,
                    "{slice:?} before {end}"
                );
            }
        }
    }

    #[test]
    fn whole_inner_dimensions_join_their_runs() {
        let whole = runs(
            &[6, 7, 8],
            8,
            &[indices(2, 4, 1), indices(0, 7, 1), indices(0, 8, 1)],
        );
        assert_eq!(whole.only(), Some(2 * 56..4 * 56));
        let scalar = runs(&[], 32, &[]);
        assert_eq!(scalar.only(), Some(0..4));
        let empty = runs(&[0, 3], 32, &[indices(0, 0, 1), indices(0, 3, 1)]);
        assert_eq!(empty.only(), Some(0..0));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let problem =
            |shape: &[u64], bits, slice: &[Indices]| Runs::new(shape, bits, slice).unwrap_err();
        let (found, expected) = (0, 1);
        assert_eq!(
            problem(&[3], 8, &[]),
            SliceProblem::Rank { found, expected }
        );
        let (dimension, end, length) = (0, 4, 3);
        assert_eq!(
            problem(&[3], 8, &[indices(0, 4, 1)]),
            SliceProblem::End {
                dimension,
                end,
                length
            }
        );
        for slice in [indices(1, 3, 1), indices(0, 3, 1), indices(0, 4, 2)] {
            assert_eq!(
                problem(&[4], 4, &[slice]),
                SliceProblem::PartOfByte,
                "{slice:?}"
            );
        }
        assert_eq!(runs(&[4], 4, &[indices(2, 4, 1)]).only(), Some(1..2));
        assert_eq!(
            runs(&[4, 4], 6, &[indices(1, 2, 1), indices(0, 4, 1)]).only(),
            Some(3..6)
        );
    }
}
