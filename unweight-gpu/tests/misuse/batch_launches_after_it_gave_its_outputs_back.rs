use unweight_gpu::{Batch, Device, GpuError};

fn misuse(device: &Device, mut batch: Batch) -> Result<(), GpuError> {
    let outputs = batch.into_outputs()?;
    batch.decode(&device.stream()?)?.defer_status();
    drop(outputs);
    Ok(())
}

fn main() {}
