//! Prints the first weights of every tensor, and reads only the chunks that contain them:
//! `cargo run --release -p unweight --example random_access -- model.unw`.

use std::error::Error;

use unweight::{Dtype, Model};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: random_access MODEL.unw")?;
    let model = Model::open(path)?;
    for tensor in model
        .tensors()
        .filter(|tensor| tensor.dtype() == Dtype::Bf16)
    {
        let first = tensor.range(0..tensor.element_count().min(4))?;
        println!("{:?}: {first:?}", tensor.name());
    }
    Ok(())
}
