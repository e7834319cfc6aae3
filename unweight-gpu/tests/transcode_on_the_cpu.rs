//! Transcoding by the kernels on fibers of the CPU: of records to records, and by way of weights.
//! The results for the corpus are compared with the cases, and others with the reference's bytes.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

mod host_decoder;
mod host_encoder;
mod restore;

use std::sync::atomic::{AtomicU32, Ordering};

use host_decoder::{OnTheCpu, Stages, Uploaded};
use host_encoder::{HostTensor, Placed, chunk_sizes, forms_of, is_exponent_alone, placed};
use restore::{Kernels, hold_to_the_corpus};
use unweight_cpu::reference::{TensorPlan, ValueCounts, transcoded_forms};
use unweight_format::layout::{self, RECORD_ALIGNMENT};
use unweight_format::{
    Dtype, Encoding, Extent, Form, Forms, Palettes, Payload, RecordEnds, Rule, Tensor,
};
use unweight_gpu::host::{
    Addresses, ChosenForms, GOOD, Sources, TABLE_BYTES, TensorJob, read, readable_plain_bytes,
    stage_bytes,
};
use unweight_gpu_host::DeviceMemory;
use unweight_testkit::{DISTRIBUTIONS, Distribution, ENCODINGS, Random, bytes_of};

/// A decoder that transcodes each tensor, and compares the result with the reference's.
#[derive(Debug, Default)]
struct Transcoding {
    seed: u64,
    /// Numbers of tensors whose records were converted, of those that needed the fallback, and of
    /// all others.
    direct: AtomicU32,
    fallbacks: AtomicU32,
    others: AtomicU32,
}

const fn other(encoding: Encoding) -> Encoding {
    match encoding {
        Encoding::Huffman => Encoding::Palette,
        Encoding::Palette => Encoding::Huffman,
    }
}

/// The plan of the reference for these forms.
fn plan_of(tensor: &HostTensor, forms: Forms, constant_bits: u64) -> TensorPlan {
    let counts = |field| {
        let mut counts = ValueCounts::default();
        counts.add_weights(field, tensor.dtype.weight_bytes(), &tensor.data);
        counts
    };
    let counts: Vec<ValueCounts> = forms.coded().map(|coded| counts(coded.field)).collect();
    TensorPlan::new(forms, constant_bits, &counts)
}

impl Transcoding {
    /// Transcodes the records at these addresses. Returns the rule that they break.
    fn direct(&self, tensor: &HostTensor, source: &TensorJob, to: Encoding, stage: u32) -> Direct {
        let forms = Forms::raw(Dtype::Bf16).with(0, to.form()).unwrap();
        let chosen = ChosenForms {
            forms,
            constant_bits: 0,
        };
        let address = (&raw const *source) as u64;
        let tensors = std::slice::from_ref(tensor);
        let mut placed = placed(tensors, &[chosen], &[address], Sources::Records);
        let mut status = GOOD;
        // There is no stage for other seeds, so that records are read from device memory.
        let stage = if self.seed == 0 { stage } else { 0 };
        // SAFETY: the source has the BF16 exponent alone coded, in the other encoding, and all that
        // locates records in it was checked.
        let needs_fallback = unsafe { placed.encode_records(to, stage, self.seed, &mut status) };
        Direct {
            placed,
            needs_fallback,
            broken: read(status).map(|report| report.rule),
        }
    }
}

struct Direct {
    placed: Placed,
    needs_fallback: bool,
    broken: Option<Rule>,
}

/// Whether each record of a payload is verbatim. `bytes` are those from the payload's start on.
fn are_verbatim(payload: &Payload, bytes: &[u8]) -> Vec<bool> {
    let of = |offset: u64| (offset - payload.start()) as usize;
    let ends = RecordEnds::parse(payload, &bytes[of(payload.record_ends().offset)..]).unwrap();
    let records = (0..payload.chunk_count()).map(|chunk| ends.record(chunk, 0));
    let kind = |record: Extent| bytes[of(record.offset + layout::record::KIND)];
    records
        .map(|record| kind(record) == layout::KIND_VERBATIM)
        .collect()
}

/// Whether records cannot be converted to those of this plan: a canonical encoder chooses another
/// palette, or, for palette records, other records that are verbatim.
fn needs_fallback(
    tensor: &HostTensor,
    plan: &TensorPlan,
    palettes: &Palettes,
    are_verbatim_in_source: &[bool],
) -> bool {
    let (payload, bytes) = tensor.payload(plan);
    let is_palette = plan.forms().form(0) == Form::Palette;
    plan.palettes().coded(0) != palettes.coded(0)
        || is_palette && are_verbatim(&payload, &bytes) != are_verbatim_in_source
}

impl Kernels for Transcoding {
    fn decode(&self, tensor: &Tensor<'_>, bytes: &[u8]) -> Result<Vec<u8>, Rule> {
        let decoded = OnTheCpu::new(self.seed, Stages::AsInABatch).decode(tensor, bytes);
        let payload = tensor.payload();
        let Ok(uploaded) = Uploaded::new(tensor, bytes) else {
            return decoded;
        };
        if !payload.forms().is_coded() {
            return decoded;
        }
        let host_tensor = |data: &[u8]| HostTensor {
            name: tensor.name().to_owned(),
            dtype: tensor.dtype(),
            data: data.to_vec(),
            chunk_size_log2: payload.chunk_size_log2(),
        };
        let direct = payload.forms().is_bf16_exponent().then(|| {
            let source = TensorJob::new(payload, &uploaded.palettes, uploaded.at, 0, 0, 0);
            let stage = stage_bytes(
                uploaded.longest_records_bytes,
                payload.weights(),
                TABLE_BYTES,
            );
            let encoding = payload.forms().form(0).encoding().unwrap();
            // Only the length of the data is used.
            let tensor = host_tensor(&vec![0; tensor.data_bytes() as usize]);
            self.direct(&tensor, &source, other(encoding), stage)
        });
        let data = match decoded {
            Ok(data) => data,
            Err(rule) => {
                // What checks checksums has the last word.
                let of_checksums = [Rule::RecordCrc, Rule::TensorCrc].contains(&rule);
                if let Some(direct) = direct {
                    assert!(direct.broken == Some(rule) || of_checksums, "{rule:?}");
                }
                return Err(rule);
            }
        };
        let tensors = [host_tensor(&data)];
        let first = payload.forms().coded().next().expect("a coded field");
        let forms = transcoded_forms(payload.forms(), other(first.encoding));
        let plan = plan_of(&tensors[0], forms, uploaded.palettes.constant_bits());
        // Encoding from weights has tests of the order of threads.
        if self.seed == 0 {
            let source = DeviceMemory::of(&data);
            let address = [source.address()];
            let mut by_weights = placed(&tensors, &[forms_of(&plan)], &address, Sources::Weights);
            by_weights.encode(self.seed);
            by_weights.hold_to(&tensors, &[plan], "by weights");
        }
        let counted = match &direct {
            None => &self.others,
            Some(direct) => {
                assert_eq!(direct.broken, None);
                let palettes = &uploaded.palettes;
                let expected =
                    needs_fallback(&tensors[0], &plan, palettes, &are_verbatim(payload, bytes));
                assert_eq!(direct.needs_fallback, expected, "{}", tensor.name());
                if expected {
                    &self.fallbacks
                } else {
                    direct.placed.hold_to(&tensors, &[plan], "direct");
                    &self.direct
                }
            }
        };
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(data)
    }
}

#[test]
fn transcoding_gives_the_reference_s_bytes_and_errors() {
    let transcoding = Transcoding::default();
    hold_to_the_corpus(&transcoding);
    // Some files of the corpus are not from a canonical encoder.
    assert!(transcoding.direct.into_inner() > 0);
    assert!(transcoding.fallbacks.into_inner() > 0);
    assert!(transcoding.others.into_inner() > 0);
}

#[test]
fn the_order_of_threads_changes_nothing() {
    hold_to_the_corpus(&Transcoding {
        seed: 7,
        ..Transcoding::default()
    });
}

/// The payload of a tensor in memory as on a device.
struct OnDevice {
    _memory: DeviceMemory,
    at: Addresses,
    payload: Payload,
    palettes: Palettes,
}

impl OnDevice {
    fn new(payload: Payload, palettes: &Palettes, bytes: &[u8]) -> OnDevice {
        let mut readable = bytes.to_vec();
        let length = readable.len().max(readable_plain_bytes(&payload) as usize);
        readable.resize(length, 0xff);
        let memory = DeviceMemory::of(&readable);
        OnDevice {
            at: Addresses::of(&payload, memory.address()),
            _memory: memory,
            payload,
            palettes: *palettes,
        }
    }

    fn job(&self) -> TensorJob {
        TensorJob::new(&self.payload, &self.palettes, self.at, 0, 0, 0)
    }
}

/// Weights of ever more exponents, up to where records turn verbatim.
fn ever_more_exponents(count: usize) -> Vec<u8> {
    let mut random = Random::new(count as u64);
    let weight = |place: usize| {
        let outside = random.below(100) < place as u64 / 2_048 % 20 * 8;
        let exponent = 100 + random.below(if outside { 90 } else { 16 });
        (random.bits() as u16 & 0x807f) | (exponent << 7) as u16
    };
    (0..count).map(weight).flat_map(u16::to_le_bytes).collect()
}

/// Tensors of these sizes and distributions.
fn tensors(sizes: &[usize], distributions: &[Distribution]) -> Vec<HostTensor> {
    let tensor = |data: Vec<u8>, chunk_size_log2: u8, name: &str| HostTensor {
        name: format!(
            "{name}, {} bytes, chunks of 2^{chunk_size_log2}",
            data.len()
        ),
        dtype: Dtype::Bf16,
        data,
        chunk_size_log2,
    };
    let mut tensors = vec![];
    for (&size, log2) in sizes.iter().zip(chunk_sizes()) {
        let data = ever_more_exponents(size);
        tensors.push(tensor(data, log2, "ever more exponents"));
        for distribution in distributions {
            let data = bytes_of(&distribution.weights(size, 5));
            tensors.push(tensor(data, log2, distribution.name));
        }
    }
    tensors
}

#[test]
fn records_of_a_canonical_encoder_are_made_of_records() {
    // Less and more than a chunk.
    let tensors = tensors(&[257, 8_449, 70_001], &DISTRIBUTIONS[..2]);
    for from in ENCODINGS {
        let (converted, _) = conversions(&tensors, from);
        assert!(converted > 3, "{converted}");
    }
}

#[test]
fn records_of_every_distribution_and_size_are_made_of_records() {
    const SIZES: [usize; 11] = [
        255, 257, 1_023, 4_095, 4_097, 8_191, 8_192, 8_449, 32_769, 65_535, 70_001,
    ];
    let tensors = tensors(&SIZES, &DISTRIBUTIONS);
    for from in ENCODINGS {
        let (converted, fallbacks) = conversions(&tensors, from);
        assert!(converted > 50, "{converted}");
        // The palette is canonical, so only a palette record that is verbatim when the Huffman
        // record is not, or the reverse, needs the fallback.
        let to = other(from);
        assert_eq!(fallbacks > 0, to == Encoding::Palette, "{fallbacks}");
    }
}

/// The number of these tensors that are converted, and of those that need the fallback. Requires
/// that these are the right ones.
fn conversions(tensors: &[HostTensor], from: Encoding) -> (u32, u32) {
    let (mut converted, mut fallbacks) = (0, 0);
    let transcoding = Transcoding {
        seed: from as u64,
        ..Transcoding::default()
    };
    let to = other(from);
    for tensor in tensors {
        let plan = tensor.plan(from);
        if !is_exponent_alone(&plan) {
            continue;
        }
        let (payload, bytes) = tensor.payload(&plan);
        let source = OnDevice::new(payload, plan.palettes(), &bytes);
        let direct = transcoding.direct(tensor, &source.job(), to, 16 << 10);
        assert_eq!(direct.broken, None);
        let target = plan_of(tensor, transcoded_forms(plan.forms(), to), 0);
        let expected = needs_fallback(
            tensor,
            &target,
            plan.palettes(),
            &are_verbatim(&payload, &bytes),
        );
        assert_eq!(direct.needs_fallback, expected, "{}, to {to}", tensor.name);
        if expected {
            fallbacks += 1;
            continue;
        }
        let tensors = std::slice::from_ref(tensor);
        direct.placed.hold_to(tensors, &[target], "direct");
        converted += 1;
    }
    (converted, fallbacks)
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let data = bytes_of(&DISTRIBUTIONS[0].weights(100_000, 5));
    let tensor = HostTensor {
        name: "damaged".to_owned(),
        dtype: Dtype::Bf16,
        data,
        chunk_size_log2: 15,
    };
    for from in ENCODINGS {
        let plan = tensor.plan(from);
        assert!(is_exponent_alone(&plan));
        let (payload, bytes) = tensor.payload(&plan);
        let transcoded = |bytes: &[u8]| {
            let source = OnDevice::new(payload, plan.palettes(), bytes);
            let transcoding = Transcoding::default();
            let direct = transcoding.direct(&tensor, &source.job(), other(from), 16 << 10);
            assert_eq!((direct.broken, direct.needs_fallback), (None, false));
            direct.placed.outputs[0].bytes().to_vec()
        };
        let first_record = payload.records().offset as usize;
        assert_eq!(first_record % RECORD_ALIGNMENT as usize, 0);
        let mut damaged = bytes.clone();
        damaged[first_record] ^= 0x40;
        let mut expected = transcoded(&bytes);
        expected[first_record] ^= 0x40;
        assert!(transcoded(&damaged) == expected);
    }
}
