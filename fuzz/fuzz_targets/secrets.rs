//! libFuzzer's entry to [`portcullis_fuzz::secrets`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::secrets(bytes));
