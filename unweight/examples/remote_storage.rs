//! Reads a container through a custom storage that fetches byte ranges. Here it is a file that takes
//! 20 ms for each read, sometimes fails, and counts its reads. An HTTP client or an object store
//! would be used the same way. The file is read twice: as it is, and with merged reads.
//!
//! `cargo run --release -p unweight --example remote_storage -- model.unw TENSOR`

use std::error::Error;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use unweight::format::Extent;
use unweight::{Coalesce, OpenOptions, Storage, read_extent};

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
}

struct Remote {
    file: File,
    counters: Arc<Counters>,
}

impl Storage for Remote {
    fn byte_length(&self) -> io::Result<u64> {
        self.file.byte_length()
    }

    fn read<'a>(&'a self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let number = self.counters.requests.fetch_add(1, Relaxed);
        std::thread::sleep(Duration::from_millis(20));
        if number % 50 == 4 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.counters.bytes.fetch_add(extent.length, Relaxed);
        Ok(read_extent(&self.file, extent, buffer)?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, tensor] = &arguments[..] else {
        return Err("usage: remote_storage MODEL.unw TENSOR".into());
    };
    let options = OpenOptions::new().retry(|error, failed| {
        std::thread::sleep(Duration::from_millis(1 << failed));
        failed < 4 && error.kind() == io::ErrorKind::TimedOut
    });
    println!("as it is:");
    read(path, tensor, &options)?;
    println!("with merged reads:");
    read(path, tensor, &options.coalesce(Coalesce::new()))
}

fn read(path: &str, tensor: &str, options: &OpenOptions) -> Result<(), Box<dyn Error>> {
    let counters = Arc::new(Counters::default());
    let start = Instant::now();
    let report = |step: &str| {
        let (requests, bytes) = (&counters.requests, &counters.bytes);
        println!(
            "  {step}: {} requests, {} bytes, {:.2} s so far",
            requests.load(Relaxed),
            bytes.load(Relaxed),
            start.elapsed().as_secs_f64()
        );
    };
    let model = options.open_storage(Remote {
        file: File::open(path)?,
        counters: counters.clone(),
    })?;
    report("open");
    let tensor = model.tensor(tensor)?;
    let middle = tensor.element_count() / 2;
    tensor.range(middle..tensor.element_count().min(middle + 4))?;
    report("four weights");
    model.verify()?;
    report("verify");
    Ok(())
}
