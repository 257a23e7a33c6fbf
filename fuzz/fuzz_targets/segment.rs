#![no_main]
//! See `rustka_fuzz::segment`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::segment(data));
