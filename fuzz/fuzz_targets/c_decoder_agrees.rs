#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unweight_properties::c_decoder_agrees(bytes));
