#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unweight_properties::random_access_equals_whole(bytes));
