//! libFuzzer's entry to the target `event_type`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::event_type(data));
