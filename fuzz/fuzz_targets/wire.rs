//! libFuzzer's entry to [`portcullis_fuzz::wire_message`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::wire_message(bytes));
