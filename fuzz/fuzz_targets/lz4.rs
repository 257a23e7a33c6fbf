#![no_main]
//! See `rustka_fuzz::lz4`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::lz4(data));
