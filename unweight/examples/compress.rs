//! Compresses a safetensors file:
//! `cargo run --release -p unweight --example compress -- model.safetensors model.unw`.

use std::error::Error;
use std::fs::File;
use std::ops::ControlFlow;

use unweight::format::write::SeekSink;
use unweight::{CompressOptions, compress_to};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, source, target] = &arguments[..] else {
        return Err("usage: compress SOURCE.safetensors TARGET.unw".into());
    };
    let options = CompressOptions::new().progress(|progress| {
        eprint!(
            "\r{} of {} bytes",
            progress.done_bytes, progress.total_bytes
        );
        ControlFlow::Continue(())
    });
    let sink = SeekSink::new(File::create_new(target)?);
    compress_to(&File::open(source)?, sink, &options)?;
    eprintln!("\r{target}: {} bytes", std::fs::metadata(target)?.len());
    Ok(())
}
