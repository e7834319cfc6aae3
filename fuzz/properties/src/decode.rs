//! Decoding of hostile files.

use unweight::container::OpenFile;
use unweight_format::{Expected, Rule, crc32, layout};
use unweight_testkit::{restored, state_tensor_checksum};

use crate::container::tensor_bytes_so_far;
use crate::edit::any_container;

/// A damaged container with correct checksums either is restored or breaks a rule, with the same
/// result twice. The restored source is at most 64 times as long as the file (section 13). If only
/// the tensor checksums are wrong and are corrected, the container is valid.
pub fn decode_any_container(bytes: &[u8]) {
    let mut file = any_container(bytes);
    loop {
        let verdict = restored(&file[..]);
        match &verdict {
            Ok(bytes) => {
                assert!(bytes.len() <= 64 * file.len());
                return;
            }
            Err(error) => {
                let again = restored(&file[..]).expect_err("the same verdict");
                assert_eq!(
                    error.rule().expect("memory does not fail"),
                    again.rule().expect("a rule again")
                );
                assert_eq!(error.to_string(), again.to_string());
                if error.rule() != Some(Rule::TensorCrc) || !correct_a_tensor_checksum(&mut file) {
                    return;
                }
            }
        }
    }
}

/// Corrects the checksum of the first tensor whose checksum is wrong. Returns whether there was
/// one.
fn correct_a_tensor_checksum(file: &mut [u8]) -> bool {
    let wrong = {
        let open = OpenFile::read(&*file).expect("the header was right");
        let container = open.container();
        let mut tensors = container.directory().tensors();
        tensors.find_map(|tensor| {
            let (bytes, verdict) = tensor_bytes_so_far(&container, &tensor);
            let unweight::ReadError::Rule { error, .. } = verdict.err()? else {
                unreachable!("memory does not fail")
            };
            assert_eq!(bytes.len() as u64, tensor.data_bytes());
            assert_eq!(
                (error.rule, error.found),
                (Rule::TensorCrc, crc32(&bytes).into())
            );
            assert_eq!(error.expected, Expected::Checksum(tensor.checksum()));
            let entry =
                layout::FILE_HEADER_BYTES + layout::ENTRY_BYTES * u64::from(tensor.number());
            assert_eq!(error.offset, entry + layout::entry::TENSOR_CHECKSUM);
            Some((tensor.number(), crc32(&bytes)))
        })
    };
    if let Some((number, checksum)) = wrong {
        state_tensor_checksum(file, number, checksum);
    }
    wrong.is_some()
}
