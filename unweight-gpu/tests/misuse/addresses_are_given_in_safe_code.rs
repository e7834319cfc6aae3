use unweight_gpu::{Output, Source};

fn main() {
    let _ = Output::raw(256, 256);
    let _ = Source::raw(256, 128);
}
