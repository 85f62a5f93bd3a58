//! libFuzzer's entry to [`portcullis_fuzz::futures_request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::futures_request(bytes));
