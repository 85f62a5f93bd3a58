//! libFuzzer's entry to [`portcullis_fuzz::websocket_frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::websocket_frames(bytes));
