//! libFuzzer's entry to [`portcullis_fuzz::venue_answer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::venue_answer(bytes));
