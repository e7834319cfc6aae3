//! Times how long it takes to load all tensors of a file: `load FILE`.
//!
//! For each line of standard input that says `fresh` or `reused`, loads the file into new memory or
//! into that of before, and prints the seconds. The scripts in `bindings/python/benches` do so to
//! compare the Python package with this.

use std::error::Error;
use std::io::{BufRead, stdin};
use std::mem::MaybeUninit;
use std::time::Instant;

use unweight::{Model, OpenOptions};

type Buffers = Vec<Vec<MaybeUninit<u8>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("found no argument, expected a file")?;
    let mut buffers = Buffers::new();
    for line in stdin().lock().lines() {
        let begin = Instant::now();
        let model = OpenOptions::new().open(&path)?;
        match line?.trim() {
            "fresh" => {
                load(&model, &mut Buffers::new())?;
            }
            "reused" => load(&model, &mut buffers)?,
            other => return Err(format!("found {other:?}, expected fresh or reused").into()),
        }
        println!("{}", begin.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Reads all tensors into `buffers`, which are made if they are missing.
fn load(model: &Model, buffers: &mut Buffers) -> Result<(), unweight::Error> {
    for (at, tensor) in model.tensors().enumerate() {
        if at == buffers.len() {
            let length = tensor.data_bytes() as usize;
            buffers.push(Box::new_uninit_slice(length).into_vec());
        }
        tensor.read_bytes_into_uninit(&mut buffers[at])?;
    }
    Ok(())
}
