#![no_main]
//! See `rustka_fuzz::index`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::index(data));
