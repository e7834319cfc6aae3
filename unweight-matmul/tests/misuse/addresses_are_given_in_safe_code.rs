use unweight_matmul::{View, ViewMut};

fn main() {
    let _ = View::raw(256, 128);
    let _ = ViewMut::raw(256, 256);
}
