#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unweight_properties::parse_never_panics(bytes));
