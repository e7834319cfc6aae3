#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unweight_properties::storage_answers_never_panic(bytes));
