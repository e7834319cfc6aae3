use unweight_gpu::{Output, Source};

fn main() {
    let _ = Output::at_address(256, 256);
    let _ = Source::at_address(256, 128);
}
