//! Misuse of device memory that must not compile: `misuse/` has a program for each, and what the compiler says of it.
//!
//! Another compiler may say it in other words: `TRYBUILD=overwrite cargo test -p unweight-gpu --test misuse` writes them, to be looked at.

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
