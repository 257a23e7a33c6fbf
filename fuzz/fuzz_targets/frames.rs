#![no_main]
//! See `rustka_fuzz::frames`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::frames(data));
