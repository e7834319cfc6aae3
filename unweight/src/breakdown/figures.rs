//! What a breakdown holds of each tensor: only what the directory does not say.

use unweight_format::{Directory, Palette, Palettes, Tensor};

use super::StoredBits;

/// Figures of tensors one after the other, in the order of the directory. They are few bytes for
/// each, because a file may have a million tensors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Entropy of each field in bits per weight.
    entropies: Vec<f64>,
    /// Each coded field.
    coded: Vec<Coded>,
    /// The values of each tensor's constant fields at their places in a weight.
    constants: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Coded {
    palette: Palette,
    records: StoredBits,
}

/// The figures of one tensor.
#[derive(Clone, Copy)]
pub(super) struct OfTensor<'f> {
    entropies: &'f [f64],
    coded: &'f [Coded],
    /// The values of constant fields at their places in a weight.
    pub(super) constant_bits: u64,
}

impl Figures {
    /// No figures, with memory for those of these tensors.
    pub(crate) fn with_capacity(directory: &Directory<'_>) -> Figures {
        let (fields, coded) = counts(directory);
        Figures {
            entropies: Vec::with_capacity(fields as usize),
            coded: Vec::with_capacity(coded as usize),
            constants: Vec::with_capacity(directory.tensor_count() as usize),
        }
    }

    /// The memory of figures of these tensors.
    pub(crate) fn bytes(directory: &Directory<'_>) -> u64 {
        let (fields, coded) = counts(directory);
        (size_of::<f64>() as u64) * fields
            + (size_of::<Coded>() as u64) * coded
            + (size_of::<u64>() as u64) * u64::from(directory.tensor_count())
    }

    /// Adds a tensor with the entropies of its fields and the bits of the records of its coded
    /// fields, both in the order of fields.
    pub(crate) fn push(
        &mut self,
        palettes: &Palettes,
        entropies: impl Iterator<Item = f64>,
        records: impl Iterator<Item = StoredBits>,
    ) {
        self.entropies.extend(entropies);
        let coded = records.enumerate().map(|(number, records)| Coded {
            palette: *palettes.coded(number).expect("a coded field has a palette"),
            records,
        });
        self.coded.extend(coded);
        self.constants.push(palettes.constant_bits());
    }

    /// The figures of each of these tensors, whose figures were pushed in this order.
    pub(super) fn iter<'d>(
        &self,
        tensors: impl Iterator<Item = Tensor<'d>>,
    ) -> impl Iterator<Item = (Tensor<'d>, OfTensor<'_>)> {
        let (mut entropies, mut coded) = (&self.entropies[..], &self.coded[..]);
        tensors
            .zip(&self.constants)
            .map(move |(tensor, &constant_bits)| {
                let forms = tensor.forms();
                let figures = OfTensor {
                    entropies: take(&mut entropies, tensor.dtype().fields().len()),
                    coded: take(&mut coded, forms.coded_count()),
                    constant_bits,
                };
                (tensor, figures)
            })
    }
}

impl OfTensor<'_> {
    /// The entropy of field `number`.
    pub(super) fn entropy(&self, number: usize) -> f64 {
        self.entropies[number]
    }

    /// The palette and the bits of the records of coded field `number`, counted from 0 in the order
    /// of fields.
    pub(super) fn coded(&self, number: usize) -> (Palette, StoredBits) {
        let Coded { palette, records } = self.coded[number];
        (palette, records)
    }
}

fn take<'f, T>(left: &mut &'f [T], count: usize) -> &'f [T] {
    let (taken, rest) = left.split_at(count);
    *left = rest;
    taken
}

/// The numbers of fields and of coded fields of all tensors.
fn counts(directory: &Directory<'_>) -> (u64, u64) {
    directory.tensors().fold((0, 0), |(fields, coded), tensor| {
        let forms = tensor.forms();
        let of_dtype = tensor.dtype().fields().len() as u64;
        (fields + of_dtype, coded + forms.coded_count() as u64)
    })
}
