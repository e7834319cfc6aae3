//! Misuse of matmuls that must not compile. `misuse/` has a program for each, and the compiler's
//! message.
//!
//! Another compiler may word a message differently. `TRYBUILD=overwrite cargo test -p
//! unweight-matmul --test misuse` writes the messages anew. Read them before you commit them.

use unweight_matmul::{
    Captured, CompressedMatrix, Fragments, PlainMatmul, Plan, Sequence, Stack, Workspace,
};

#[test]
fn misuse_does_not_compile() {
    let programs = trybuild::TestCases::new();
    programs.compile_fail("tests/misuse/*.rs");
}

/// Types with handles of cuBLASLt or a graph belong to one thread. For a type that is `Send`, this
/// does not compile, because both implementations apply.
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
    is_send_and_sync::<Fragments>();
    is_send_and_sync::<CompressedMatrix>();
    is_send_and_sync::<Plan<'_>>();
};
