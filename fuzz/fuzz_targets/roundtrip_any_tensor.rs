#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unweight_properties::roundtrip_any_tensor(bytes));
