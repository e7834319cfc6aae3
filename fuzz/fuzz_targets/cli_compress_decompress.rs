#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unweight_properties::cli_compress_decompress(bytes));
