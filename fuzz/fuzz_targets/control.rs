//! libFuzzer's entry to [`portcullis_fuzz::control`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::control(bytes));
