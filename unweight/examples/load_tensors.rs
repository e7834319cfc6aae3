//! Decodes all tensors of a checkpoint into memory, five times, and prints the median speed: first
//! into new vectors, then into the same memory again.
//!
//! ```sh
//! cargo run --release -p unweight --example load_tensors -- model.unw
//! ```

use std::time::Instant;

use unweight::{Checkpoint, Error, OpenOptions};

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: load_tensors FILE")?;
    let open = || Checkpoint::open(&path, &OpenOptions::new());
    let checkpoint = open()?;
    let bytes: u64 = checkpoint.tensors().map(|tensor| tensor.data_bytes()).sum();
    let mut memory = all(&checkpoint)?;
    let new = median(|| all(&open()?).map(drop))?;
    let again = median(|| {
        let checkpoint = open()?;
        let mut tensors = checkpoint.tensors().zip(&mut memory);
        tensors.try_for_each(|(tensor, memory)| tensor.read_bytes_into(memory))
    })?;
    for (what, seconds) in [("new memory", new), ("the same memory", again)] {
        let speed = bytes as f64 / seconds / 1e9;
        println!("{bytes} bytes into {what}: {speed:.2} GB/s");
    }
    Ok(())
}

fn all(checkpoint: &Checkpoint) -> Result<Vec<Vec<u8>>, Error> {
    checkpoint
        .tensors()
        .map(|tensor| tensor.to_bytes())
        .collect()
}

fn median(mut work: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[ROUNDS / 2])
}
