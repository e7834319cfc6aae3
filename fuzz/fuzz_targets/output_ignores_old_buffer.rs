#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unweight_properties::output_ignores_old_buffer(bytes));
