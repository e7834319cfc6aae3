//! Embeds a sentence with all-MiniLM-L6-v2, once with the weights of a safetensors file and once with
//! those of the compressed file, and compares the bits. A file that has only layer 0, as
//! `samples/minilm-layer0.safetensors` has, is compared by the states of that layer.
//!
//! `cargo run --release -- MODEL.safetensors MODEL.unw`

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use unweight_candle_example::Weights;
use unweight_candle_example::minilm::{LayerFront, MiniLm};

/// "[CLS] the quick brown fox jumps over the lazy dog [SEP]" in BERT's uncased vocabulary.
const SENTENCE: [u32; 11] = [
    101, 1996, 4248, 2829, 4419, 14523, 2058, 1996, 13971, 3899, 102,
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, safetensors, compressed] = &arguments[..] else {
        candle_core::bail!("usage: unweight-candle-example MODEL.safetensors MODEL.unw");
    };
    let source = std::fs::read(safetensors)?;
    let expected = states(VarBuilder::from_slice_safetensors(
        &source,
        DType::F32,
        &Device::Cpu,
    )?)?;
    let weights = Box::new(Weights::open(compressed)?);
    let found = states(VarBuilder::from_backend(weights, DType::F32, Device::Cpu))?;
    let differ = expected
        .iter()
        .zip(&found)
        .filter(|(one, other)| one.to_bits() != other.to_bits())
        .count();
    println!("{:?} ...", &found[..4]);
    println!("{} of {} numbers differ", differ, expected.len());
    if differ > 0 || expected.len() != found.len() {
        candle_core::bail!("the compressed weights give another result");
    }
    Ok(())
}

/// The embedding of the sentence or, of a file with layer 0 alone, its intermediate states.
fn states(vb: VarBuilder<'_>) -> Result<Vec<f32>> {
    let tokens = Tensor::new(&SENTENCE[..], &Device::Cpu)?;
    let states = match vb.contains_tensor("embeddings.word_embeddings.weight") {
        true => MiniLm::load(vb)?.embed(&tokens)?,
        false => {
            let count = 384 * SENTENCE.len();
            let input: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
            let input = Tensor::from_vec(input, (SENTENCE.len(), 384), &Device::Cpu)?;
            LayerFront::load(vb.pp("encoder.layer.0"))?
                .forward(&input)?
                .1
        }
    };
    states.flatten_all()?.to_vec1()
}
