//! A layer with the weights of a `.unw` file gives the same bits as with those of safetensors.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use unweight::{CompressOptions, Encoding, OpenOptions};
use unweight_candle_example::Weights;
use unweight_candle_example::minilm::LayerFront;

const SAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../samples/minilm-layer0.safetensors"
);

fn weights(source: &[u8], encoding: Encoding) -> Weights {
    let options = CompressOptions::new().encoding(encoding);
    let file = unweight::compress(source, &options).unwrap();
    assert!(file.len() < source.len() * 4 / 5);
    Weights::new(OpenOptions::new().open_bytes(file).unwrap())
}

fn states(vb: VarBuilder<'_>) -> Result<Vec<u32>> {
    let input: Vec<f32> = (0..7 * 384).map(|i| (i as f32 * 0.37).sin()).collect();
    let input = Tensor::from_vec(input, (7, 384), &Device::Cpu)?;
    let (attended, intermediate) = LayerFront::load(vb.pp("encoder.layer.0"))?.forward(&input)?;
    let mut numbers = attended.flatten_all()?.to_vec1::<f32>()?;
    numbers.extend(intermediate.flatten_all()?.to_vec1::<f32>()?);
    Ok(numbers.into_iter().map(f32::to_bits).collect())
}

#[test]
fn a_compressed_layer_gives_the_same_bits() -> Result<()> {
    let source = std::fs::read(SAMPLE)?;
    let vb = VarBuilder::from_slice_safetensors(&source, DType::F32, &Device::Cpu)?;
    let expected = states(vb)?;
    assert_eq!(expected.len(), 7 * (384 + 1536));
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        let weights = Box::new(weights(&source, encoding));
        let vb = VarBuilder::from_backend(weights, DType::F32, Device::Cpu);
        assert!(states(vb)? == expected);
    }
    Ok(())
}

#[test]
fn a_missing_tensor_and_a_wrong_shape_are_refused() -> Result<()> {
    let source = std::fs::read(SAMPLE)?;
    let weights = Box::new(weights(&source, Encoding::Huffman));
    let vb = VarBuilder::from_backend(weights, DType::BF16, Device::Cpu);
    let bias = "encoder.layer.0.intermediate.dense.bias";
    assert!(vb.contains_tensor(bias) && !vb.contains_tensor("w"));
    assert_eq!(vb.get(1536, bias)?.dims(), [1536]);
    let missing = vb.get(1, "w").unwrap_err().to_string();
    assert!(missing.contains("cannot find tensor w"), "{missing}");
    let shape = vb.get(1535, bias).unwrap_err().to_string();
    assert!(shape.contains("shape mismatch"), "{shape}");
    Ok(())
}
