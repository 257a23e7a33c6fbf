#![no_main]
//! See `rustka_fuzz::zstd`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::zstd(data));
