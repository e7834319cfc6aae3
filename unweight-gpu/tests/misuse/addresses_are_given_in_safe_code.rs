use unweight_gpu::{Output, Source, View, ViewMut};

fn main() {
    let _ = Output::at_address(256, 256);
    let _ = Source::at_address(256, 128);
    let _ = View::raw(256, 128);
    let _ = ViewMut::raw(256, 256);
}
