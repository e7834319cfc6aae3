//! Functions for devices, as far as they run without one.

use std::ptr::{null, null_mut};

use unweight_c::*;

use crate::support::*;

#[test]
fn a_missing_device_is_a_status_and_no_loader() {
    let mut loader = null_mut();
    // SAFETY: a place for a pointer.
    let said = said(|error| unsafe { unweight_cuda_open(60_000, &mut loader, error) });
    assert_eq!(said.status, Status::NoDevice);
    assert!(
        loader.is_null() && said.message.contains("CUDA"),
        "{said:?}"
    );
    // SAFETY: NULL is allowed.
    unsafe { unweight_cuda_close(loader) };
}

#[test]
fn null_pointers_of_device_functions_are_refused() {
    let model = model();
    let model = model.0;
    for status in [
        // SAFETY: the functions check NULL pointers.
        status(|error| unsafe { unweight_cuda_open(0, null_mut(), error) }),
        // SAFETY: as above.
        status(|error| unsafe { unweight_cuda_load(null(), model, null(), 0, null_mut(), error) }),
    ] {
        assert_eq!(status, Status::InvalidArgument);
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_struct_for_devices_keeps_its_layout() {
    assert_eq!(size_of::<CudaTensor>(), 24);
    assert_eq!(std::mem::offset_of!(CudaTensor, bytes), 16);
}
