//! libFuzzer's entry to [`portcullis_fuzz::okx_request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::okx_request(bytes));
