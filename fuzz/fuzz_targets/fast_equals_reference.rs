#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unweight_properties::fast_equals_reference(bytes));
