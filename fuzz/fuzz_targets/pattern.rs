//! libFuzzer's entry to the target `pattern`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::pattern(data));
