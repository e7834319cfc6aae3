#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unweight_properties::decode_any_container(bytes));
