#![no_main]

libfuzzer_sys::fuzz_target!(
    |bytes: &[u8]| unweight_properties::parse_then_write_is_identity(bytes)
);
