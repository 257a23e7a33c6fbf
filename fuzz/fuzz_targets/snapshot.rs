#![no_main]
//! See `rustka_fuzz::snapshot`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::snapshot(data));
