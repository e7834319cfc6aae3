//! The stored bits of all tensors of a file.

use unweight_format::{Directory, Dtype, FileHeader, Tensor};

use super::tensor::bits_without_field;
use super::{FieldTotals, Figures, TensorBreakdown, Totals};

/// Where the bits of a file go. It holds a few bytes for each field of each tensor, and makes
/// [`TensorBreakdown`]s of them and of the directory.
#[derive(Clone, Debug)]
pub struct FileBreakdown<'d> {
    header: FileHeader,
    directory: Directory<'d>,
    figures: Figures,
}

impl<'d> FileBreakdown<'d> {
    pub(crate) fn new(
        header: FileHeader,
        directory: Directory<'d>,
        figures: Figures,
    ) -> FileBreakdown<'d> {
        FileBreakdown {
            header,
            directory,
            figures,
        }
    }

    /// All tensors, in the order of the directory.
    pub fn tensors(&self) -> impl Iterator<Item = (Tensor<'d>, TensorBreakdown)> {
        let figures = self.figures.iter(self.directory.tensors());
        figures.map(|(tensor, figures)| (tensor, TensorBreakdown::new(&tensor, figures)))
    }

    /// Sums over all tensors.
    pub fn totals(&self) -> Totals {
        self.sum(|_| true)
    }

    /// Sums over the tensors that are not raw.
    pub fn compressed_totals(&self) -> Totals {
        self.sum(|tensor| !tensor.forms().is_raw())
    }

    fn sum(&self, is_counted: impl Fn(&Tensor<'_>) -> bool) -> Totals {
        let mut totals = Totals::default();
        for (tensor, breakdown) in self.tensors() {
            if is_counted(&tensor) {
                totals += Totals::of(&breakdown);
            }
        }
        totals
    }

    /// Sums over each field of all tensors of a type, type by type in the order of their codes.
    /// What belongs to no field of a type follows its fields. Types that no tensor has are left out.
    pub fn fields(&self) -> Vec<FieldTotals> {
        let none = |dtype: Dtype| -> Vec<FieldTotals> {
            let fields = dtype.fields().iter().map(|&field| Some(field));
            let all = fields.chain([None]);
            let of_field = |field: Option<unweight_format::Field>| FieldTotals {
                dtype,
                field,
                width: field.map_or(bits_without_field(dtype), |field| field.width()),
                totals: Totals::default(),
            };
            all.map(of_field).collect()
        };
        let mut all: Vec<_> = Dtype::ALL.iter().map(|&dtype| none(dtype)).collect();
        for (tensor, breakdown) in self.tensors() {
            let Some(of_dtype) = all.iter_mut().find(|of| of[0].dtype == tensor.dtype()) else {
                continue;
            };
            let fields = breakdown.fields.iter();
            let fields = fields.map(|field| (field.entropy_bits, field.stored));
            let without = f64::from(bits_without_field(tensor.dtype()));
            let others = std::iter::once((without, breakdown.others));
            for (sum, (entropy, stored)) in of_dtype.iter_mut().zip(fields.chain(others)) {
                sum.totals += Totals::of_weights(breakdown.weights, sum.width, entropy, stored);
            }
        }
        let all = all.into_iter().filter(|of| of[0].totals.tensors > 0);
        all.flatten().collect()
    }

    /// Bits of header, directory, source section, extensions, their padding, and the guard.
    pub fn frame_bits(&self) -> u64 {
        8 * (self.directory.payload_start() + self.directory.guard().length)
    }

    /// Bits of the whole file.
    pub fn file_bits(&self) -> u64 {
        8 * self.header.file_length()
    }
}
