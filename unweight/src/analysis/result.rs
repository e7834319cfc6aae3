//! What an analysis finds.

use serde::Serialize;
use unweight_format::Dtype;

use crate::breakdown::FieldKind;

/// What is found in a model. All sums saturate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// What does not grow with the number of tensors.
    #[serde(flatten)]
    pub summary: Summary,
    /// All tensors, file by file.
    pub tensors: Vec<TensorAnalysis>,
}

/// What is found in a model, without its single tensors.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The last component of the model's path. Bytes that are not UTF-8 are replaced.
    pub model: String,
    /// Whether the model is not compressed yet. Sizes, counts and entropies are then those of
    /// samples, scaled.
    pub is_estimate: bool,
    /// Number of files.
    pub files: u64,
    /// Bytes of the safetensors files.
    pub original_bytes: u64,
    /// Bytes of the Unweight files.
    pub stored_bytes: u64,
    /// Bytes of headers, directories, source sections and guards.
    pub frame_bytes: u64,
    /// Bytes of tensors that were looked at, before compression.
    pub read_bytes: u64,
    /// All tensors.
    pub total: Sum,
    /// The tensors of each type, in the order of the types' codes.
    pub dtypes: Vec<DtypeSum>,
    /// The layers in the order of the files, at most [`LAYERS`]: if there are more, neighbours are
    /// added up.
    pub layers: Vec<LayerSum>,
    /// Kinds of tensors by their size, largest first, at most [`KINDS`]; the last then has the
    /// rest.
    pub kinds: Vec<KindSum>,
    /// The values of each field in all tensors.
    pub fields: Vec<Histogram>,
    /// Tensors that did not become smaller, by the reason.
    pub no_gain: Vec<NoGainSum>,
    /// GPU memory of the tensors in each form.
    pub memory: ResidentMemory,
}

/// The most layers of a [`Summary`].
pub const LAYERS: usize = 256;
/// The most kinds of a [`Summary`].
pub const KINDS: usize = 24;

/// Sums over tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sum {
    /// Number of tensors.
    pub tensors: u64,
    /// Number of weights.
    pub weights: u64,
    /// Bytes of the weights.
    pub original_bytes: u64,
    /// What is stored for them.
    pub stored: Parts,
    /// Bits that the entropies of the fields amount to: see [`breakdown`](crate::breakdown).
    pub entropy_bits: f64,
}

/// Stored bits by what they are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Parts {
    /// Exponents: codes, patches and plain bits.
    pub exponent: u64,
    /// Mantissas.
    pub mantissa: u64,
    /// Signs, and other bits outside of the fields.
    pub sign: u64,
    /// Integers, and types that pack several numbers in a byte.
    pub integer: u64,
    /// Record headers, lane ends, record ends, palettes, checksums and padding.
    pub overhead: u64,
}

/// Sums over the tensors of one type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DtypeSum {
    /// The type.
    pub dtype: Dtype,
    /// The sums.
    pub sum: Sum,
}

/// Sums over one layer, or over some that are neighbours.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LayerSum {
    /// The components of the names before the number.
    pub stack: String,
    /// The first number, and the last. None for tensors without a number.
    pub numbers: Option<(u64, u64)>,
    /// The sums.
    pub sum: Sum,
}

/// Sums over the tensors of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KindSum {
    /// The name of the tensors, with `*` in place of each number. None for the rest.
    pub name: Option<String>,
    /// The sums.
    pub sum: Sum,
    /// The exponents' outliers.
    pub outliers: u64,
    /// The values of each field.
    pub fields: Vec<Histogram>,
}

/// Occurrences of the values of a field.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Histogram {
    /// The type of the weights.
    pub dtype: Dtype,
    /// What the field is.
    #[serde(serialize_with = "name_of_kind")]
    pub field: FieldKind,
    /// The highest bit of the field in a weight.
    pub high: u32,
    /// The lowest bit.
    pub low: u32,
    /// Entropy of these counts in bits.
    pub entropy_bits: f64,
    /// The first value that occurs.
    pub first: u32,
    /// The counts from the first value that occurs to the last.
    pub counts: Vec<u64>,
}

/// A tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TensorAnalysis {
    /// The name, unchecked as in [`Tensor::name`](crate::Tensor::name).
    pub name: String,
    /// The type.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Number of weights.
    pub weights: u64,
    /// Bytes of the weights.
    pub original_bytes: u64,
    /// Bytes that are stored, with the padding in front of them.
    pub stored_bytes: u64,
    /// Entropy of the fields in bits per weight. None without weights.
    pub entropy_bits: Option<f64>,
    /// Why it is not smaller than its weights. None if it is.
    pub no_gain: Option<NoGain>,
    /// The magnitudes of the weights. None if the type has not one exponent of at most 8 bits.
    pub magnitudes: Option<Magnitudes>,
}

/// Why a tensor did not become smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoGain {
    /// It has no weights.
    Empty,
    /// The format codes nothing of the type.
    NoFields,
    /// The bits are too random: the entropy is within 1/64 of the type's bits.
    Random,
    /// It is too small to make up for palettes and records.
    TooSmall,
    /// It would become smaller, but is stored as it is: it was not selected, or another encoder
    /// made the file.
    NotCoded,
}

/// Tensors that did not become smaller for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NoGainSum {
    /// The reason.
    pub reason: NoGain,
    /// Number of tensors.
    pub tensors: u64,
    /// Bytes of their weights.
    pub original_bytes: u64,
}

/// Magnitudes of the weights of a tensor, as far as exponents show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Magnitudes {
    /// Binary logarithm, rounded down, of the median of the magnitudes that are not 0.
    pub median_log2: i32,
    /// Binary logarithm, rounded down, of the largest finite magnitude.
    pub largest_log2: i32,
    /// Weights of at least [`OUTLIER_TIMES`] times the median, both rounded down to powers of 2.
    pub outliers: u64,
    /// Weights that are infinite or not a number.
    pub not_finite: u64,
    /// Weights that are 0 or subnormal.
    pub zeros: u64,
}

/// How many times the median an outlier is. A normal distribution has one in 10^26 weights.
pub const OUTLIER_TIMES: u32 = 1 << OUTLIER_LOG2;
pub(super) const OUTLIER_LOG2: i32 = 4;

/// GPU memory of all tensors in each form that they can have there. Activations and workspaces come
/// on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ResidentMemory {
    /// Bytes of decoded tensors.
    pub decoded_bytes: u64,
    /// Bytes of tensors as they are in the files; those that did not become smaller are decoded.
    pub coded_bytes: u64,
    /// Bytes of matrices in the 12-bit form of `unweight-matmul`, and of all other tensors decoded.
    /// None without [`AnalysisOptions::fragments`](super::AnalysisOptions::fragments).
    pub fragments_bytes: Option<u64>,
    /// The number of these matrices.
    pub fragments_tensors: u64,
}

impl Parts {
    /// The sum.
    pub fn bits(&self) -> u64 {
        let parts = [self.exponent, self.mantissa, self.sign, self.integer];
        parts.into_iter().fold(self.overhead, u64::saturating_add)
    }

    pub(super) fn add(&mut self, other: &Parts) {
        for (part, more) in [
            (&mut self.exponent, other.exponent),
            (&mut self.mantissa, other.mantissa),
            (&mut self.sign, other.sign),
            (&mut self.integer, other.integer),
            (&mut self.overhead, other.overhead),
        ] {
            *part = part.saturating_add(more);
        }
    }
}

impl Sum {
    /// Stored bits for each weight; None without weights.
    pub fn bits_per_weight(&self) -> Option<f64> {
        (self.weights > 0).then(|| self.stored.bits() as f64 / self.weights as f64)
    }

    pub(super) fn add(&mut self, other: &Sum) {
        self.tensors = self.tensors.saturating_add(other.tensors);
        self.weights = self.weights.saturating_add(other.weights);
        self.original_bytes = self.original_bytes.saturating_add(other.original_bytes);
        self.stored.add(&other.stored);
        self.entropy_bits += other.entropy_bits;
    }
}

fn name_of_kind<S: serde::Serializer>(kind: &FieldKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}
