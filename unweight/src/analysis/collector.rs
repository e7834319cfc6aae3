//! Adds up what is found in tensors.

use std::collections::HashMap;
use std::path::Path;

use unweight_cpu::reference::ValueCounts;
use unweight_format::{Dtype, Field, Tensor};

use super::magnitudes::exponent_field;
use super::result::{
    Analysis, DtypeSum, Histogram, KINDS, KindSum, LAYERS, LayerSum, Magnitudes, NoGain, NoGainSum,
    Parts, ResidentMemory, Sum, Summary, TensorAnalysis,
};
use super::{AnalysisOptions, Bf16Matrix, Fragments, names};
use crate::breakdown::{FieldKind, StoredBits, TensorBreakdown};

/// A tensor counts as too random if its entropy lacks less than one part in so many.
const LEAST_GAIN: f64 = 64.0;

/// What is found in a tensor, or in a sample of it.
pub(super) struct Found<'a> {
    pub(super) name: &'a str,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<u64>,
    pub(super) data_bytes: u64,
    /// Bytes of the payload. None if the tensor is not compressed yet.
    pub(super) payload_bytes: Option<u64>,
    /// Bytes of weights that were looked at.
    pub(super) read_bytes: u64,
    /// The breakdown of the tensor or of the sample.
    pub(super) breakdown: TensorBreakdown,
    /// The values of each field.
    pub(super) counts: Vec<ValueCounts>,
}

/// Memory that an analysis keeps of a tensor.
pub(super) fn kept_bytes(name: &str, dimensions: usize) -> u64 {
    // A kind, and its place in a table.
    const PER_KIND: usize = 256;
    let of_names = 3 * name.len();
    (size_of::<TensorAnalysis>() + PER_KIND + of_names + 8 * dimensions) as u64
}

/// Sums so far.
pub(super) struct Collector {
    summary: Summary,
    tensors: Vec<TensorAnalysis>,
    fragments: Option<Fragments>,
    /// Bytes of each kind, and then its place among the sums.
    kinds: HashMap<String, u64>,
    kind_counts: Vec<FieldCounts>,
    layers: HashMap<(String, Option<u64>), usize>,
}

/// Counts of the values of the fields of each type.
#[derive(Default)]
struct FieldCounts(Vec<(Dtype, Vec<Counts>)>);

/// Occurrences of each value of a field.
type Counts = [u64; 256];

impl<'a> Found<'a> {
    /// A tensor of a container.
    pub(super) fn whole(
        tensor: &Tensor<'a>,
        breakdown: TensorBreakdown,
        counts: Vec<ValueCounts>,
    ) -> Found<'a> {
        Found {
            name: tensor.name(),
            dtype: tensor.dtype(),
            shape: tensor.shape().collect(),
            data_bytes: tensor.data_bytes(),
            payload_bytes: Some(tensor.payload().extent().length),
            read_bytes: tensor.data_bytes(),
            breakdown,
            counts,
        }
    }

    /// A number of the sample as one of the tensor.
    fn scaled(&self, count: u64) -> u64 {
        if self.read_bytes == self.data_bytes || self.read_bytes == 0 {
            return count;
        }
        let exact = u128::from(count) * u128::from(self.data_bytes) / u128::from(self.read_bytes);
        u64::try_from(exact).unwrap_or(u64::MAX)
    }

    fn weights(&self) -> u64 {
        self.data_bytes / self.dtype.weight_bytes() as u64
    }

    /// Stored bytes, with the padding in front.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.parts().bits().div_ceil(8)
    }

    fn is_smaller(&self) -> bool {
        !self.breakdown.forms.is_raw()
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::default();
        let mut overhead = |stored: &StoredBits| {
            let of_weights = of_weights(stored);
            // Palettes, constants and padding do not grow with the tensor.
            let fixed = stored.palettes + stored.constants + stored.padding;
            let growing = stored.sum() - of_weights - fixed;
            parts.overhead = parts
                .overhead
                .saturating_add(fixed)
                .saturating_add(self.scaled(growing));
            self.scaled(of_weights)
        };
        let (mut exponent, mut mantissa, mut integer) = (0_u64, 0_u64, 0_u64);
        for field in &self.breakdown.fields {
            let bits = overhead(&field.stored);
            let part = match field.kind {
                FieldKind::Exponent => &mut exponent,
                FieldKind::Mantissa => &mut mantissa,
                FieldKind::Bits => &mut integer,
            };
            *part = part.saturating_add(bits);
        }
        let others = overhead(&self.breakdown.others);
        let is_float = (self.breakdown.fields.iter()).any(|field| field.kind != FieldKind::Bits);
        match is_float {
            true => parts.sign = others,
            false => integer = integer.saturating_add(others),
        }
        Parts {
            exponent,
            mantissa,
            integer,
            ..parts
        }
    }

    fn sum(&self) -> Sum {
        Sum {
            tensors: 1,
            weights: self.weights(),
            original_bytes: self.data_bytes,
            stored: self.parts(),
            entropy_bits: self.breakdown.entropy_bits().unwrap_or(0.0) * self.weights() as f64,
        }
    }

    fn no_gain(&self) -> Option<NoGain> {
        if self.is_smaller() {
            return None;
        }
        let Some(entropy) = self.breakdown.entropy_bits() else {
            return Some(NoGain::Empty);
        };
        let bits = 8.0 * self.dtype.weight_bytes() as f64;
        // A record and a palette take some 100 bytes.
        const LEAST_BITS: f64 = 8.0 * 160.0;
        Some(if self.dtype.fields().is_empty() {
            NoGain::NoFields
        } else if (bits - entropy) * LEAST_GAIN < bits {
            NoGain::Random
        } else if (bits - entropy) * (self.weights() as f64) < LEAST_BITS {
            NoGain::TooSmall
        } else {
            NoGain::NotCoded
        })
    }

    /// The counts of a field in the whole tensor.
    fn all_counts(&self, number: usize) -> Counts {
        self.counts[number]
            .as_array()
            .map(|count| self.scaled(count))
    }
}

/// Bits that weights take without records.
fn of_weights(stored: &StoredBits) -> u64 {
    stored.plain + stored.codes + stored.verbatim + stored.patches
}

impl FieldCounts {
    fn add(&mut self, found: &Found<'_>) {
        let place = self.0.iter().position(|(dtype, _)| *dtype == found.dtype);
        let place = place.unwrap_or_else(|| {
            let none = vec![[0; 256]; found.dtype.fields().len()];
            self.0.push((found.dtype, none));
            self.0.len() - 1
        });
        for (number, counts) in self.0[place].1.iter_mut().enumerate() {
            add_counts(counts, &found.all_counts(number));
        }
    }

    fn histograms(&self) -> Vec<Histogram> {
        let of_dtype = |(dtype, counts): &(Dtype, Vec<Counts>)| -> Vec<Histogram> {
            let fields = dtype.fields().iter().zip(counts);
            let histogram = |(field, counts): (&Field, &Counts)| {
                let first = counts.iter().position(|&count| count > 0)?;
                let last = counts.iter().rposition(|&count| count > 0)?;
                Some(Histogram {
                    dtype: *dtype,
                    field: FieldKind::of(*dtype, *field),
                    high: field.high(),
                    low: field.low(),
                    entropy_bits: entropy(counts),
                    first: first as u32,
                    counts: counts[first..=last].to_vec(),
                })
            };
            fields.filter_map(histogram).collect()
        };
        self.0.iter().flat_map(of_dtype).collect()
    }
}

fn add_counts(sums: &mut Counts, counts: &Counts) {
    for (sum, more) in sums.iter_mut().zip(counts) {
        *sum = sum.saturating_add(*more);
    }
}

/// Entropy in bits of values with these counts, whose sum may exceed a `u64`.
fn entropy(counts: &Counts) -> f64 {
    let total: f64 = counts.iter().map(|&count| count as f64).sum();
    let occurring = counts.iter().filter(|&&count| count > 0);
    let bits = occurring
        .map(|&count| count as f64 / total)
        .map(|share| -share * share.log2());
    bits.sum::<f64>().max(0.0)
}

impl Collector {
    pub(super) fn new(model: &Path, options: &AnalysisOptions) -> Collector {
        let name = model.file_name().unwrap_or(model.as_os_str());
        Collector {
            summary: Summary {
                model: name.to_string_lossy().into_owned(),
                is_estimate: options.is_estimate,
                files: 0,
                original_bytes: 0,
                stored_bytes: 0,
                frame_bytes: 0,
                read_bytes: 0,
                total: Sum::default(),
                dtypes: Vec::new(),
                layers: Vec::new(),
                kinds: Vec::new(),
                fields: Vec::new(),
                no_gain: Vec::new(),
                memory: ResidentMemory {
                    fragments_bytes: options.fragments.as_ref().map(|_| 0),
                    ..ResidentMemory::default()
                },
            },
            tensors: Vec::new(),
            fragments: options.fragments.clone(),
            kinds: HashMap::new(),
            kind_counts: Vec::new(),
            layers: HashMap::new(),
        }
    }

    /// Adds the name and the bytes of a tensor, before any tensor is added.
    pub(super) fn name(&mut self, name: &str, bytes: u64) {
        let sum = self.kinds.entry(names::kind(name)).or_default();
        *sum = sum.saturating_add(bytes);
    }

    /// Chooses the kinds that are told apart.
    pub(super) fn choose_kinds(&mut self) {
        let mut kinds: Vec<(String, u64)> = self.kinds.drain().collect();
        kinds.sort_unstable_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        let has_rest = kinds.len() > KINDS;
        kinds.truncate(if has_rest { KINDS - 1 } else { KINDS });
        let kind = |name: Option<&String>| KindSum {
            name: name.cloned(),
            sum: Sum::default(),
            outliers: 0,
            fields: Vec::new(),
        };
        let named = kinds.iter().map(|(name, _)| kind(Some(name)));
        self.summary.kinds = named.chain(has_rest.then(|| kind(None))).collect();
        self.kind_counts
            .resize_with(self.summary.kinds.len(), FieldCounts::default);
        let places = kinds
            .into_iter()
            .zip(0..)
            .map(|((name, _), place)| (name, place));
        self.kinds = places.collect();
    }

    /// Adds a file of these lengths.
    pub(super) fn file(&mut self, original_bytes: u64, stored_bytes: u64, frame_bytes: u64) {
        let summary = &mut self.summary;
        summary.original_bytes = summary.original_bytes.saturating_add(original_bytes);
        summary.stored_bytes = summary.stored_bytes.saturating_add(stored_bytes);
        summary.frame_bytes = summary.frame_bytes.saturating_add(frame_bytes);
    }

    pub(super) fn add(&mut self, found: &Found<'_>) {
        let sum = found.sum();
        let magnitudes = exponent_field(found.dtype)
            .and_then(|number| Magnitudes::of(found.dtype, &found.all_counts(number)));
        let no_gain = found.no_gain();
        self.summary.read_bytes = self.summary.read_bytes.saturating_add(found.read_bytes);
        self.summary.total.add(&sum);
        self.add_to_dtype(found.dtype, &sum);
        self.add_to_layer(found.name, &sum);
        self.add_to_kind(found, &sum, magnitudes);
        if let Some(reason) = no_gain {
            self.add_no_gain(reason, found.data_bytes);
        }
        self.add_memory(found);
        self.tensors.push(TensorAnalysis {
            name: found.name.to_owned(),
            dtype: found.dtype,
            shape: found.shape.clone(),
            weights: sum.weights,
            original_bytes: found.data_bytes,
            stored_bytes: found.stored_bytes(),
            entropy_bits: found.breakdown.entropy_bits(),
            no_gain,
            magnitudes,
        });
    }

    fn add_to_dtype(&mut self, dtype: Dtype, sum: &Sum) {
        let dtypes = &mut self.summary.dtypes;
        match dtypes.iter_mut().find(|of| of.dtype == dtype) {
            Some(of) => of.sum.add(sum),
            None => dtypes.push(DtypeSum { dtype, sum: *sum }),
        }
    }

    fn add_to_layer(&mut self, name: &str, sum: &Sum) {
        let (stack, number) = match names::layer(name) {
            Some((stack, number)) => (stack.to_owned(), Some(number)),
            None => (String::new(), None),
        };
        let layers = &mut self.summary.layers;
        let place = *self
            .layers
            .entry((stack, number))
            .or_insert_with_key(|(stack, number)| {
                layers.push(LayerSum {
                    stack: stack.clone(),
                    numbers: number.map(|number| (number, number)),
                    sum: Sum::default(),
                });
                layers.len() - 1
            });
        layers[place].sum.add(sum);
    }

    fn add_to_kind(&mut self, found: &Found<'_>, sum: &Sum, magnitudes: Option<Magnitudes>) {
        // A file that changes while it is read may have other names by now.
        let last = self.summary.kinds.len().saturating_sub(1);
        let place = self.kinds.get(&names::kind(found.name));
        let place = place.map_or(last, |&place| place as usize);
        let Some(kind) = self.summary.kinds.get_mut(place) else {
            return;
        };
        kind.sum.add(sum);
        let outliers = magnitudes.map_or(0, |found| found.outliers);
        kind.outliers = kind.outliers.saturating_add(outliers);
        self.kind_counts[place].add(found);
    }

    fn add_no_gain(&mut self, reason: NoGain, bytes: u64) {
        let sums = &mut self.summary.no_gain;
        let place = sums.iter().position(|of| of.reason == reason);
        let place = place.unwrap_or_else(|| {
            sums.push(NoGainSum {
                reason,
                tensors: 0,
                original_bytes: 0,
            });
            sums.len() - 1
        });
        sums[place].tensors += 1;
        sums[place].original_bytes = sums[place].original_bytes.saturating_add(bytes);
    }

    fn add_memory(&mut self, found: &Found<'_>) {
        let memory = &mut self.summary.memory;
        let decoded = found.data_bytes;
        let coded = match found.is_smaller() {
            true => found.payload_bytes.unwrap_or_else(|| found.stored_bytes()),
            false => decoded,
        };
        memory.decoded_bytes = memory.decoded_bytes.saturating_add(decoded);
        memory.coded_bytes = memory.coded_bytes.saturating_add(coded);
        let (Some(Fragments(bytes)), Some(sum)) = (&self.fragments, &mut memory.fragments_bytes)
        else {
            return;
        };
        let fragments = match (found.dtype, &found.shape[..]) {
            (Dtype::Bf16, &[rows, columns]) => {
                let exponents = exponent_field(Dtype::Bf16).map(|number| found.all_counts(number));
                exponents.as_ref().and_then(|exponents| {
                    bytes(&Bf16Matrix {
                        rows,
                        columns,
                        exponents,
                    })
                })
            }
            _ => None,
        };
        memory.fragments_tensors += u64::from(fragments.is_some());
        *sum = sum.saturating_add(fragments.unwrap_or(decoded));
    }

    pub(super) fn finish(self, files: usize) -> Analysis {
        let mut summary = self.summary;
        summary.files = files as u64;
        summary
            .dtypes
            .sort_by_key(|of| Dtype::ALL.iter().position(|&dtype| dtype == of.dtype));
        summary.no_gain.sort_by_key(|of| of.reason);
        let mut all = FieldCounts::default();
        for (kind, counts) in summary.kinds.iter_mut().zip(&self.kind_counts) {
            kind.fields = counts.histograms();
            all.merge(counts);
        }
        summary.fields = all.histograms();
        summary.layers = at_most(LAYERS, in_order(summary.layers));
        Analysis {
            summary,
            tensors: self.tensors,
        }
    }
}

impl FieldCounts {
    fn merge(&mut self, other: &FieldCounts) {
        for (dtype, counts) in &other.0 {
            match self.0.iter_mut().find(|(of, _)| of == dtype) {
                Some((_, sums)) => {
                    for (sum, more) in sums.iter_mut().zip(counts) {
                        add_counts(sum, more);
                    }
                }
                None => self.0.push((*dtype, counts.clone())),
            }
        }
    }
}

/// Stacks in the order in which they were found, and the layers of each by their numbers.
fn in_order(mut layers: Vec<LayerSum>) -> Vec<LayerSum> {
    let mut stacks: HashMap<String, usize> = HashMap::new();
    for layer in &layers {
        let next = stacks.len();
        stacks.entry(layer.stack.clone()).or_insert(next);
    }
    layers.sort_by_key(|layer| (stacks[&layer.stack], layer.numbers));
    layers
}

/// Adds up neighbours until there are at most `most`.
fn at_most(most: usize, layers: Vec<LayerSum>) -> Vec<LayerSum> {
    let together = layers.len().div_ceil(most).max(1);
    let mut groups: Vec<LayerSum> = Vec::with_capacity(layers.len().min(most));
    for (number, layer) in layers.into_iter().enumerate() {
        match groups.last_mut() {
            Some(group) if number % together != 0 => {
                group.sum.add(&layer.sum);
                group.numbers = match (group.numbers, layer.numbers) {
                    (Some((first, last)), Some((next, end))) if group.stack == layer.stack => {
                        Some((first.min(next), last.max(end)))
                    }
                    (numbers, _) => numbers,
                };
            }
            _ => groups.push(layer),
        }
    }
    groups
}
