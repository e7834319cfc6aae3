use unweight_gpu::Device;
use unweight_gpu::matmul::{CompressedMatrix, Direct, ExponentDecode, Fragments, PaletteTranscode};

fn misuse(device: &Device, fragments: &Fragments, coded: &CompressedMatrix) {
    let _ = Direct::new(device, coded);
    let _ = ExponentDecode::new(device, fragments);
    let _ = PaletteTranscode::new(device, fragments);
}

fn main() {}
