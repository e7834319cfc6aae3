//! Decodes a file on a CUDA device: the weights of every tensor, then the whole file with every
//! rule checked. The example needs the feature `cuda`:
//! `cargo run --release -p unweight --features cuda --example cuda_decode -- model.unw`.

use std::error::Error;
use std::time::Instant;

use unweight::{Backend, CudaDevice, CudaOptions, Dtype, OpenOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: cuda_decode MODEL.unw")?;
    let device = CudaDevice::open(0, &CudaOptions::new())?;
    println!("{}", device.device().name()?);
    let options = OpenOptions::new().backend(Backend::Cuda(device));
    let model = options.open(path)?;
    for tensor in model
        .tensors()
        .filter(|tensor| tensor.dtype() == Dtype::Bf16)
    {
        let weights = tensor.to_vec()?;
        let first = &weights[..weights.len().min(4)];
        println!("{:?}: {first:?}", tensor.name());
    }
    let start = Instant::now();
    model.verify()?;
    println!("valid, {:.3} s", start.elapsed().as_secs_f64());
    Ok(())
}
