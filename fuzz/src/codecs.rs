//! Each codec inflates whatever it is given, within its bound, and what it inflates survives another round.

use rustka_core::compression::{Codec, CompressionError, compress, decompress};

/// A bound small enough for the fuzzer to hit.
const INFLATED_BYTES_MAX: usize = 256 << 10;
/// Larger results are not packed again, which would only be slow.
const REPACKED_BYTES_MAX: usize = 8 << 10;

/// RFC 1952, members joined.
pub fn gzip(data: &[u8]) {
    inflate(Codec::Gzip, data);
}

/// Bare blocks and snappy-java's framing; the first byte chooses, so that the fuzzer need not guess the magic.
pub fn snappy(data: &[u8]) {
    inflate(Codec::Snappy, data);
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    if choice % 2 == 0 {
        inflate(Codec::Snappy, rest);
        return;
    }
    // One frame around the whole, as snappy-java writes it.
    let mut framed = vec![
        0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
    ];
    framed.extend((rest.len() as u32).to_be_bytes());
    framed.extend(rest);
    inflate(Codec::Snappy, &framed);
}

/// The LZ4 frame format.
pub fn lz4(data: &[u8]) {
    inflate(Codec::Lz4, data);
}

/// Zstandard frames.
pub fn zstd(data: &[u8]) {
    inflate(Codec::Zstd, data);
}

fn inflate(codec: Codec, data: &[u8]) {
    match decompress(codec, data, INFLATED_BYTES_MAX) {
        Ok(out) => {
            assert!(out.len() <= INFLATED_BYTES_MAX);
            // A smaller bound is kept too, and names itself.
            if let Some(max_bytes) = out.len().checked_sub(1) {
                let refused = decompress(codec, data, max_bytes);
                assert_eq!(refused, Err(CompressionError::TooLarge { max_bytes }));
            }
            if out.len() <= REPACKED_BYTES_MAX {
                let again =
                    compress(codec, None, &out).expect("whatever was inflated can be packed");
                assert_eq!(decompress(codec, &again, out.len()), Ok(out));
            }
        }
        Err(CompressionError::TooLarge { max_bytes }) => assert_eq!(max_bytes, INFLATED_BYTES_MAX),
        Err(CompressionError::Corrupt(_)) => {}
        Err(error @ CompressionError::Level(_)) => panic!("inflating knows no levels: {error}"),
    }
}
