//! all-MiniLM-L6-v2: the encoder of BERT, and the mean of its last layer as embedding.

use candle_core::{D, Module, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, VarBuilder, embedding, layer_norm, linear, ops};

const HIDDEN: usize = 384;
const INTERMEDIATE: usize = 1536;
const HEADS: usize = 12;
const LAYERS: usize = 6;
const TOKENS: usize = 30_522;
const POSITIONS: usize = 512;
const EPSILON: f64 = 1e-12;

/// The whole model.
#[derive(Debug)]
pub struct MiniLm {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

impl MiniLm {
    /// Loads all weights.
    ///
    /// # Errors
    /// The errors of the weights' source, for example a missing tensor.
    pub fn load(vb: VarBuilder<'_>) -> Result<MiniLm> {
        let embeddings = vb.pp("embeddings");
        let layer = |number| Layer::load(vb.pp(format!("encoder.layer.{number}")));
        Ok(MiniLm {
            words: embedding(TOKENS, HIDDEN, embeddings.pp("word_embeddings"))?,
            positions: embedding(POSITIONS, HIDDEN, embeddings.pp("position_embeddings"))?,
            types: embedding(2, HIDDEN, embeddings.pp("token_type_embeddings"))?,
            norm: layer_norm(HIDDEN, EPSILON, embeddings.pp("LayerNorm"))?,
            layers: (0..LAYERS).map(layer).collect::<Result<_>>()?,
        })
    }

    /// The embedding of a sentence, [384], of its token numbers, [tokens].
    ///
    /// # Errors
    /// The errors of candle.
    pub fn embed(&self, tokens: &Tensor) -> Result<Tensor> {
        let count = tokens.dim(0)? as u32;
        let positions = Tensor::arange(0, count, tokens.device())?;
        let sum = (self.words.forward(tokens)? + self.positions.forward(&positions)?)?;
        let types = self.types.forward(&tokens.zeros_like()?)?;
        let mut hidden = self.norm.forward(&(sum + types)?)?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden)?;
        }
        let mean = hidden.mean(0)?;
        let length = mean.sqr()?.sum_all()?.sqrt()?;
        mean.broadcast_div(&length)
    }
}

#[derive(Debug)]
struct Layer {
    front: LayerFront,
    output: Linear,
    norm: LayerNorm,
}

impl Layer {
    fn load(vb: VarBuilder<'_>) -> Result<Layer> {
        Ok(Layer {
            front: LayerFront::load(vb.clone())?,
            output: linear(INTERMEDIATE, HIDDEN, vb.pp("output.dense"))?,
            norm: layer_norm(HIDDEN, EPSILON, vb.pp("output.LayerNorm"))?,
        })
    }

    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let (attended, intermediate) = self.front.forward(hidden)?;
        self.norm
            .forward(&(self.output.forward(&intermediate)? + attended)?)
    }
}

/// The first two thirds of a layer: attention, and the intermediate projection. The sample of this
/// repository, `samples/minilm-layer0.safetensors`, has these weights.
#[derive(Debug)]
pub struct LayerFront {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm: LayerNorm,
    intermediate: Linear,
}

impl LayerFront {
    /// Loads the weights of a layer.
    ///
    /// # Errors
    /// The errors of the weights' source, for example a missing tensor.
    pub fn load(vb: VarBuilder<'_>) -> Result<LayerFront> {
        let attention = vb.pp("attention");
        let projection = |name| linear(HIDDEN, HIDDEN, attention.pp(name));
        Ok(LayerFront {
            query: projection("self.query")?,
            key: projection("self.key")?,
            value: projection("self.value")?,
            output: projection("output.dense")?,
            norm: layer_norm(HIDDEN, EPSILON, attention.pp("output.LayerNorm"))?,
            intermediate: linear(HIDDEN, INTERMEDIATE, vb.pp("intermediate.dense"))?,
        })
    }

    /// The states after attention, [tokens, 384], and the intermediate states, [tokens, 1536], of
    /// the layer's input, [tokens, 384].
    ///
    /// # Errors
    /// The errors of candle.
    pub fn forward(&self, hidden: &Tensor) -> Result<(Tensor, Tensor)> {
        let heads = |projection: &Linear| -> Result<Tensor> {
            let states = projection.forward(hidden)?;
            let states = states.reshape((hidden.dim(0)?, HEADS, HIDDEN / HEADS))?;
            states.transpose(0, 1)?.contiguous()
        };
        let (query, key, value) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let scores = query.matmul(&key.transpose(1, 2)?.contiguous()?)?;
        let scores = (scores / ((HIDDEN / HEADS) as f64).sqrt())?;
        let context = ops::softmax(&scores, D::Minus1)?.matmul(&value)?;
        let context = context.transpose(0, 1)?.reshape(hidden.shape())?;
        let attended = self
            .norm
            .forward(&(self.output.forward(&context)? + hidden)?)?;
        let intermediate = self.intermediate.forward(&attended)?.gelu_erf()?;
        Ok((attended, intermediate))
    }
}
