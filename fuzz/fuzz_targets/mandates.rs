//! libFuzzer's entry to [`portcullis_fuzz::mandates`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::mandates(bytes));
