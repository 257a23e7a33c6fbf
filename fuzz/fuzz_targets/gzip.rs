#![no_main]
//! See `rustka_fuzz::gzip`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| rustka_fuzz::gzip(data));
