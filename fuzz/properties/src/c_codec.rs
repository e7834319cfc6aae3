//! The codec in C of `conformance/decoders/c`, which shares nothing with the crates but the
//! specification.

#![expect(unsafe_code, reason = "functions in C")]

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::sync::{Mutex, PoisonError};

use unweight::{CompressOptions, Error, compress};
use unweight_format::Encoding;
use unweight_testkit::{ENCODINGS, Random, restored, transcoded};

use crate::compress::described_source;
use crate::edit::any_container;

/// The C decoder accepts and rejects the same containers as the crate, and restores and transcodes
/// them to the same bytes.
pub fn c_decoder_agrees(bytes: &[u8]) {
    let file = any_container(bytes);
    let ours = restored(&file[..]);
    let theirs = run(Work::Restore, &file);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => assert!(ours == theirs, "other bytes are restored"),
        (Err(_), Err(_)) => return,
        (Ok(_), Err(rule)) => panic!("the C decoder finds {rule} in a valid file"),
        (Err(error), Ok(_)) => panic!("the C decoder accepts a file with {error}"),
    }
    // One of the encodings, because transcoding takes much of the time.
    let encoding = ENCODINGS[Random::of(bytes).below(2) as usize];
    let theirs = run(Work::Transcode(encoding), &file);
    assert!(
        theirs.as_ref() == Ok(&transcoded(&file, encoding)),
        "{encoding:?}"
    );
}

/// The C encoder accepts and rejects the same safetensors files as the crate, and encodes them to
/// the same bytes.
pub fn c_encoder_agrees(bytes: &[u8]) {
    let (source, mut random) = described_source(bytes);
    let encoding = ENCODINGS[random.below(2) as usize];
    let chunk_size_log2 = 12 + random.below(5) as u8;
    let options = CompressOptions::new()
        .encoding(encoding)
        .chunk_size_log2(chunk_size_log2)
        .threads(1);
    let theirs = run(Work::Encode(encoding, chunk_size_log2), &source);
    match (compress(&source[..], &options), theirs) {
        (Ok(ours), Ok(theirs)) => assert!(ours == theirs, "the C encoder writes another file"),
        (Err(Error::Source(_) | Error::SourceLength { .. } | Error::Unwritable { .. }), Err(_)) => {
        }
        (Ok(_), Err(rule)) => panic!("the C encoder finds {rule} in a valid file"),
        (Err(error), _) => panic!("the C encoder accepts a file with {error}"),
    }
}

enum Work {
    Restore,
    Transcode(Encoding),
    Encode(Encoding, u8),
}

unsafe extern "C" {
    fn c_codec_run(
        work: c_int,
        encoding: u8,
        chunk_log2: c_uint,
        bytes: *const u8,
        length: u64,
        output: *mut *mut c_char,
        output_length: *mut usize,
        rule: *mut *const c_char,
    ) -> c_int;
    fn c_codec_free(output: *mut c_char);
}

/// Runs the C codec. Returns its output, or the rule that it finds broken.
fn run(work: Work, bytes: &[u8]) -> Result<Vec<u8>, String> {
    /// The codec keeps the broken rule in a static.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let code = |encoding| match encoding {
        Encoding::Palette => 2,
        _ => 1,
    };
    let (work, encoding, chunk) = match work {
        Work::Restore => (0, 0, 0),
        Work::Transcode(encoding) => (1, code(encoding), 0),
        Work::Encode(encoding, chunk) => (2, code(encoding), chunk),
    };
    let (mut output, mut length, mut rule) = (std::ptr::null_mut(), 0, c"".as_ptr());
    // SAFETY: the bytes are readable for their length, the results are writable, and the lock lets
    // one thread call at a time.
    let status = unsafe {
        c_codec_run(
            work,
            encoding,
            chunk.into(),
            bytes.as_ptr(),
            bytes.len() as u64,
            &mut output,
            &mut length,
            &mut rule,
        )
    };
    let found = match length {
        0 => Vec::new(),
        // SAFETY: the codec has filled this many bytes of its buffer.
        _ => unsafe { std::slice::from_raw_parts(output.cast::<u8>(), length) }.to_vec(),
    };
    // SAFETY: rules are literals of the C code.
    let rule = unsafe { CStr::from_ptr(rule) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: the buffer is from the call above, and is not used after this.
    unsafe { c_codec_free(output) };
    match status {
        0 => Ok(found),
        1 => Err(rule),
        _ => panic!("the C codec fails: {rule}"),
    }
}
