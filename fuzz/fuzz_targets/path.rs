//! libFuzzer's entry to the target `path`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::path(data));
