#![no_main]
//! See `rustka_fuzz::batch`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::batch(data));
