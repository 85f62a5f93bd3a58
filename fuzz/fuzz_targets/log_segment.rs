//! libFuzzer's entry to [`portcullis_fuzz::log_segment`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::log_segment(bytes));
