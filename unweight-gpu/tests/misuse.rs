//! Misuse of device memory that must not compile. `misuse/` has a program for each kind, and the
//! compiler's message.
//!
//! Another compiler version may have other messages.
//! `TRYBUILD=overwrite cargo test -p unweight-gpu --test misuse` writes them; review the changes.

use unweight_gpu::matmul::{Captured, PlainMatmul, Sequence, Stack, Workspace};
use unweight_gpu::{Batch, Device, DeviceTensor, EncodeBatch, TranscodeBatch};

#[test]
fn misuse_does_not_compile() {
    let programs = trybuild::TestCases::new();
    programs.compile_fail("tests/misuse/*.rs");
}

/// What holds handles of cuBLASLt or a graph is its thread's. This does not compile for a type that is `Send`, as it could be either implementation.
trait NotSend<Which> {
    fn holds() {}
}

impl<T: ?Sized> NotSend<()> for T {}
impl<T: ?Sized + Send> NotSend<u8> for T {}

const _: [fn(); 5] = [
    <PlainMatmul as NotSend<_>>::holds,
    <Workspace as NotSend<_>>::holds,
    <Sequence as NotSend<_>>::holds,
    <Captured<'_> as NotSend<_>>::holds,
    <Stack<'_> as NotSend<_>>::holds,
];

const fn is_send_and_sync<T: Send + Sync>() {}

const _: () = {
    is_send_and_sync::<Device>();
    is_send_and_sync::<DeviceTensor>();
    is_send_and_sync::<Batch>();
    is_send_and_sync::<EncodeBatch>();
    is_send_and_sync::<TranscodeBatch>();
};
