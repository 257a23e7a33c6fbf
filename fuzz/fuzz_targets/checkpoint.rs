#![no_main]
//! See `rustka_fuzz::checkpoint`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::checkpoint(data));
