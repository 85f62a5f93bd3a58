//! libFuzzer's entry to [`portcullis_fuzz::log_entry`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::log_entry(bytes));
