use unweight_matmul::{View, ViewMut};

fn main() {
    let _ = View::at_address(256, 128);
    let _ = ViewMut::at_address(256, 256);
}
