//! Matmuls with tensors of any forms.

use std::sync::Arc;

use half::bf16;
use unweight_format::{Dtype, Encoding, Form, Forms};
use unweight_gpu::{DeviceTensor, GpuError};
use unweight_matmul::{
    CompressedMatrix, Fragments, Linear, MatmulError, NoPlan, Pipeline, Plan, Shape, WeightForm,
};
use unweight_testkit::{Form as Stored, Records, Tensor, bf16, bytes_of, tensor};

use crate::OnAGpu;
use crate::files::{canonical, file_of, on_device};
use crate::matmul::{
    activations, compressed, matrix, multiplied, multiplied_by, plain_matmul,
    require_sequence_equals_its_matmuls, restored, worst_error,
};

/// The values of constant fields: 2^-8, and the fraction 5/8 + 9/128.
const CONSTANTS: [u8; 3] = [119, 5, 9];

/// Weights in these forms: `matrix`, with constants in the fields that have to be constant.
fn weights_with(forms: Forms, shape: Shape) -> Vec<bf16> {
    let mut weights = matrix(shape, 300);
    for ((field, form), value) in forms.iter().zip(CONSTANTS) {
        if form == Form::Constant {
            for weight in &mut weights {
                let bits = field.put(weight.to_bits().into(), value);
                *weight = bf16::from_bits(bits as u16);
            }
        }
    }
    weights
}

/// All forms that a BF16 tensor can have, raw among them.
fn all_forms() -> Vec<Forms> {
    let bits =
        (0..4).flat_map(|low| (0..4).flat_map(move |high| (0..4).map(move |e| (e, high, low))));
    let forms = bits.filter_map(|(exponent, high, low)| {
        Forms::from_bits(Dtype::Bf16, exponent | high << 4 | low << 8).ok()
    });
    forms.collect()
}

/// The tensor on the device, with records of any kind, and palettes that have nothing to do with
/// the weights.
fn odd(gpu: &OnAGpu, weights: &[bf16], forms: Forms) -> Arc<DeviceTensor> {
    let records = Records::Forms {
        bits: forms.bits(),
        seed: 20,
    };
    let stored = Stored {
        records,
        ..Stored::canonical(Encoding::Huffman, 12)
    };
    let tensor = on_device(&gpu.device, &file_of(bf16("w", weights).stored(stored)));
    assert_eq!(tensor.payload().forms(), forms);
    tensor
}

/// A matrix in any forms, with any records: the plans that there are, and their results.
pub(crate) fn matrices_in_any_forms_multiply_as_plain_ones_do(gpu: &OnAGpu) {
    assert_eq!(all_forms().len(), 36);
    let batch = 5;
    for (rows, columns) in [(65, 192), (48, 4096)] {
        let shape = Shape::new(rows, columns).unwrap();
        let x = activations(batch, shape);
        for forms in all_forms() {
            let weights = weights_with(forms, shape);
            let matrix =
                CompressedMatrix::new(&gpu.device, odd(gpu, &weights, forms), shape).unwrap();
            let linear = Linear::new(&matrix);
            let expected = plain_matmul(gpu, &weights, &x, batch, shape);
            let what = format!("{forms:?}, {rows} x {columns}");
            let whole = linear.plan(Pipeline::WholeDecode).unwrap();
            assert!(multiplied_by(gpu, whole, &x, batch) == expected, "{what}");
            if forms.plain_mask() == 0x807f && forms.is_coded() {
                assert_eq!(linear.form(), WeightForm::Coded);
                let plan = linear.plan(Pipeline::ExponentDecode).unwrap();
                let y = multiplied_by(gpu, plan, &x, batch);
                assert!(worst_error(&y, &weights, &x, shape) <= 1.0, "{what}");
                continue;
            }
            assert_eq!(linear.form(), WeightForm::Fields);
            let only = Pipeline::WholeDecode.into();
            assert!(
                linear.plans(batch).iter().map(Plan::name).eq([only]),
                "{what}"
            );
            assert_eq!(linear.advised(batch).name(), only, "{what}");
            for pipeline in [Pipeline::ExponentDecode, Pipeline::PaletteTranscode] {
                assert!(matches!(
                    linear.plan(pipeline),
                    Err(MatmulError::NoSuchPlan { reason: NoPlan::Fields(of), .. }) if of == forms
                ));
            }
        }
    }
}

/// Weights as checkpoints have them, and the forms that an encoder gives them.
fn encoded(shape: Shape) -> Vec<(&'static str, Vec<bf16>, Encoding, u32)> {
    let with = |keep: u16, set: u16| -> Vec<bf16> {
        let weights = matrix(shape, 300).into_iter();
        let bits = weights.map(|weight| weight.to_bits() & keep | set);
        bits.map(bf16::from_bits).collect()
    };
    let huffman = Encoding::Huffman;
    // Mantissas of `matrix` are random, so those that are not cut short are plain.
    vec![
        ("BF16", with(0xffff, 0), huffman, 0x001),
        (
            "BF16 in palette records",
            with(0xffff, 0),
            Encoding::Palette,
            0x002,
        ),
        ("BF16 that was E5M2", with(0xffe0, 0), huffman, 0x311),
        (
            "BF16 that was E3M4 or FP8 with odd scales",
            with(0xfff8, 0),
            huffman,
            0x101,
        ),
        ("BF16 that was E4M3", with(0xfff0, 0), huffman, 0x301),
        (
            "BF16 that was E4M3, in palette records",
            with(0xfff0, 0),
            Encoding::Palette,
            0x302,
        ),
        ("powers of two", with(0xff80, 0), huffman, 0x331),
        ("one exponent", with(0x807f, 119 << 7), huffman, 0x003),
        ("constants alone", with(0x8000, 0x3b80), huffman, 0x333),
    ]
}

/// What an encoder makes of weights, whole and from fragments.
pub(crate) fn matrices_that_an_encoder_wrote_multiply_from_fragments(gpu: &OnAGpu) {
    for (rows, columns) in [(200, 1088), (256, 4096)] {
        let shape = Shape::new(rows, columns).unwrap();
        for (name, weights, encoding, bits) in encoded(shape) {
            let file = file_of(canonical(&weights, encoding, 15));
            let tensor = on_device(&gpu.device, &file);
            assert_eq!(tensor.payload().forms().bits(), bits, "{name}");
            require_multiplies_from_fragments(gpu, &tensor, &weights, shape, name);
        }
        let weights = matrix(shape, 300);
        let raw = file_of(bf16("w", &weights).stored(Stored::RAW));
        let tensor = on_device(&gpu.device, &raw);
        require_multiplies_from_fragments(gpu, &tensor, &weights, shape, "raw");
    }
}

fn require_multiplies_from_fragments(
    gpu: &OnAGpu,
    tensor: &Arc<DeviceTensor>,
    weights: &[bf16],
    shape: Shape,
    name: &str,
) {
    let fragments = Fragments::of_tensor(&gpu.device, tensor, shape).unwrap();
    assert!(restored(gpu, &fragments) == weights, "{name}");
    // `matrix` has an exponent that the palette may lack once in 300 weights.
    assert!(fragments.patch_count() <= shape.weights() / 100, "{name}");
    let matrix = CompressedMatrix::new(&gpu.device, tensor.clone(), shape).unwrap();
    for batch in [1, 16, 100] {
        let x = activations(batch, shape);
        for pipeline in [Pipeline::Direct, Pipeline::WholeDecode] {
            let y = multiplied(gpu, &fragments, &x, batch, pipeline);
            let worst = worst_error(&y, weights, &x, shape);
            assert!(worst <= 1.0, "{name}, batch {batch}: {worst}");
        }
        let whole = Linear::new(&matrix).plan(Pipeline::WholeDecode).unwrap();
        let expected = plain_matmul(gpu, weights, &x, batch, shape);
        assert!(
            multiplied_by(gpu, whole, &x, batch) == expected,
            "{name}, batch {batch}"
        );
    }
}

/// Matrices with several coded fields, and decoded ones, between others.
pub(crate) fn a_sequence_of_matrices_in_any_forms_equals_its_matmuls(gpu: &OnAGpu) {
    // Square, so that layers may follow one another in any order; each of its own weights.
    let shape = Shape::new(1024, 1024).unwrap();
    let of_e5m2 = |layer: usize| -> Vec<bf16> {
        let mut weights = matrix(shape, 200);
        weights.rotate_left(1000 * layer);
        let bits = weights.iter().map(|weight| weight.to_bits() & 0xffe0);
        bits.map(bf16::from_bits).collect()
    };
    let fields = [0, 1, 2].map(|layer| compressed(gpu, &of_e5m2(layer), shape));
    let raw = [3, 4].map(|layer| {
        let file = file_of(bf16("w", &of_e5m2(layer)).stored(Stored::RAW));
        CompressedMatrix::new(&gpu.device, on_device(&gpu.device, &file), shape).unwrap()
    });
    let file = file_of(canonical(&of_e5m2(5), Encoding::Huffman, 12));
    let fragments =
        Fragments::of_tensor(&gpu.device, &on_device(&gpu.device, &file), shape).unwrap();
    let whole = |matrix| Linear::new(matrix).plan(Pipeline::WholeDecode).unwrap();
    let [first, second, third] = fields.each_ref().map(whole);
    let [raw, another] = raw.each_ref().map(whole);
    let direct = Linear::new(&fragments).plan(Pipeline::Direct).unwrap();
    for plans in [
        [first, raw, second, direct, third, another],
        [raw, another, first, second, third, direct],
    ] {
        require_sequence_equals_its_matmuls(gpu, &plans, shape, "forms");
    }
}

pub(crate) fn a_matrix_of_another_type_or_length_is_refused(gpu: &OnAGpu) {
    let shape = Shape::new(64, 128).unwrap();
    let refused = |tensor: Tensor, shape: Shape| {
        let tensor = on_device(&gpu.device, &file_of(tensor));
        let errors = [
            CompressedMatrix::new(&gpu.device, tensor.clone(), shape).unwrap_err(),
            Fragments::of_tensor(&gpu.device, &tensor, shape).unwrap_err(),
        ];
        errors.into_iter()
    };
    let weights = matrix(shape, 300);
    let of_type = |dtype: &str| {
        let weight_bytes = Dtype::from_name(dtype).unwrap().weight_bytes();
        let data = bytes_of(&weights).into_iter().cycle();
        let data = data.take(weight_bytes * weights.len()).collect();
        tensor("w", dtype, &[shape.weights()], data)
    };
    for dtype in ["F16", "F8_E4M3", "F32"] {
        for records in [Stored::RAW, Stored::canonical(Encoding::Huffman, 12)] {
            for error in refused(of_type(dtype).stored(records), shape) {
                assert!(matches!(error, MatmulError::NotBf16(of) if of.name() == dtype));
            }
        }
    }
    let longer = Shape::new(65, 128).unwrap();
    for error in refused(bf16("w", &weights), longer) {
        assert!(matches!(
            error,
            MatmulError::Gpu(GpuError::WrongLength { .. })
        ));
    }
}
