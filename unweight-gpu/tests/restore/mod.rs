//! Restores a whole file. Kernels, on the CPU or on a GPU, decode its tensors.

use unweight::ReadError;
use unweight::container::OpenFile;
use unweight_conformance_runner::{Corpus, Profile, Rejection, Verdict};
use unweight_format::{Rule, Tensor};

/// A decoder of one tensor that checks its chunks, its blocks and its checksum.
pub(crate) trait Kernels: Sync {
    /// The tensor's original bytes. `payload` is the file's content at `Payload::extent`.
    fn decode(&self, tensor: &Tensor<'_>, payload: &[u8]) -> Result<Vec<u8>, Rule>;
}

/// Restores a file, with the checks of `unweight::container::restore` in the same order.
pub(crate) fn restore(kernels: &impl Kernels, file: &[u8]) -> Result<Vec<u8>, Rejection> {
    restored(kernels, file).map_err(|rule| Rejection::naming(rule.id()))
}

fn restored(kernels: &impl Kernels, file: &[u8]) -> Result<Vec<u8>, Rule> {
    let broken = |error: ReadError| error.rule().expect("memory does not fail");
    let open = OpenFile::read(file).map_err(broken)?;
    let container = open.container();
    container.require_zero_padding().map_err(broken)?;
    let mut restored = container.checked_source().map_err(broken)?;
    for tensor in container.directory().tensors() {
        let payload = tensor.payload().extent().of(file).expect("a whole file");
        restored.extend(kernels.decode(&tensor, payload)?);
    }
    Ok(restored)
}

/// Checks every case of the corpus: valid files are restored exactly, and each invalid file is
/// rejected by the case's rule.
pub(crate) fn hold_to_the_corpus(kernels: &impl Kernels) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/corpus");
    let corpus = Corpus::open(folder).unwrap();
    let report = corpus
        .check(Profile::Full, |file| restore(kernels, file))
        .unwrap();
    report.assert_passed();
    assert!(matches!(
        report.decoder_verdict(Profile::Full),
        Verdict::Passed(_)
    ));
    let wrong = report.differently_named();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
