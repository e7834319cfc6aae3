//! Misuse of device memory that must not compile. `misuse/` has a program for each kind, and the
//! compiler's message.
//!
//! Another compiler version may have other messages.
//! `TRYBUILD=overwrite cargo test -p unweight-gpu --test misuse` writes them; review the changes.

use unweight_gpu::{Batch, Device, DeviceTensor, EncodeBatch, TranscodeBatch};

#[test]
fn misuse_does_not_compile() {
    let programs = trybuild::TestCases::new();
    programs.compile_fail("tests/misuse/*.rs");
}

const fn is_send_and_sync<T: Send + Sync>() {}

const _: () = {
    is_send_and_sync::<Device>();
    is_send_and_sync::<DeviceTensor>();
    is_send_and_sync::<Batch>();
    is_send_and_sync::<EncodeBatch>();
    is_send_and_sync::<TranscodeBatch>();
};
