//! libFuzzer's entry to the target `log`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::log(data));
