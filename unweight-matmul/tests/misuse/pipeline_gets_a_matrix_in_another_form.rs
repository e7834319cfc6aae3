use unweight_matmul::{CompressedMatrix, Direct, ExponentDecode, Fragments, PaletteTranscode};

fn misuse(fragments: &Fragments, coded: &CompressedMatrix) {
    let _ = Direct::new(coded);
    let _ = ExponentDecode::new(fragments);
    let _ = PaletteTranscode::new(fragments);
}

fn main() {}
