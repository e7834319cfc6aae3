//! Weights of a `.unw` file for models of candle: [`Weights`] is a `SimpleBackend`, so a
//! `VarBuilder` takes tensors from a compressed file as it takes them from safetensors.
//!
//! ```no_run
//! # fn main() -> candle_core::Result<()> {
//! use candle_core::{DType, Device};
//! use candle_nn::VarBuilder;
//! use unweight_candle_example::Weights;
//!
//! let weights = Weights::open("model.unw")?;
//! let vb = VarBuilder::from_backend(Box::new(weights), DType::F32, Device::Cpu);
//! let layer = candle_nn::linear(384, 1536, vb.pp("encoder.layer.0.intermediate.dense"))?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod minilm;

use std::path::Path;

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use unweight::{Dtype, Model};

/// The tensors of an open `.unw` file. Each is decoded when a layer asks for it.
#[derive(Debug)]
pub struct Weights {
    model: Model,
}

impl Weights {
    /// Opens a file.
    ///
    /// # Errors
    /// The errors of [`Model::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Weights> {
        Model::open(path).map(Weights::new).map_err(Error::wrap)
    }

    /// The tensors of this model.
    pub fn new(model: Model) -> Weights {
        Weights { model }
    }

    /// Decodes a tensor, in the type that the file has.
    fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        let tensor = self.model.tensor(name).map_err(|_| {
            let path = name.to_owned();
            Error::CannotFindTensor { path }.bt()
        })?;
        let bytes = tensor.to_bytes().map_err(Error::wrap)?;
        let shape: Vec<usize> = tensor.shape().map(|dimension| dimension as usize).collect();
        Tensor::from_raw_buffer(&bytes, dtype(tensor.dtype())?, &shape, device)
    }
}

impl SimpleBackend for Weights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if *tensor.shape() != shape {
            return Err(Error::UnexpectedShape {
                msg: format!("shape mismatch for {name}"),
                expected: shape,
                got: tensor.shape().clone(),
            }
            .bt());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.load(name, device)?.to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.model.tensor(name).is_ok()
    }
}

/// The type of candle for an element type. candle lacks some.
fn dtype(dtype: Dtype) -> Result<DType> {
    Ok(match dtype {
        Dtype::U8 => DType::U8,
        Dtype::U32 => DType::U32,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::Bf16 => DType::BF16,
        Dtype::F16 => DType::F16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F8E4M3 => DType::F8E4M3,
        other => candle_core::bail!("candle has no type {other}"),
    })
}
