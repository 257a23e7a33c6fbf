#![no_main]
//! See `rustka_fuzz::snappy`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::snappy(data));
