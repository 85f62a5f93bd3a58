//! libFuzzer's entry to [`portcullis_fuzz::sealed`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::sealed(bytes));
