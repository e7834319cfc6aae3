#![deny(unused_must_use)]

use unweight_gpu::{Batch, Device, GpuError, TranscodeBatch};

fn misuse(device: &Device, batch: &mut Batch, other: &mut TranscodeBatch) -> Result<(), GpuError> {
    let stream = device.stream()?;
    batch.check_chunks(&stream)?;
    batch.decode(&stream)?;
    other.check_chunks(&stream)?;
    other.transcode(&stream)?;
    Ok(())
}

fn main() {}
