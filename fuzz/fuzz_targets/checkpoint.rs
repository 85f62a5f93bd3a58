//! libFuzzer's entry to [`portcullis_fuzz::checkpoint`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::checkpoint(bytes));
