//! Compressing: in one piece, at the levels that `compression.*.level` knows.

use super::{Codec, CompressionError, XERIAL_HEADER_BYTES, XERIAL_MAGIC};
use std::io::Write;

/// The block size snappy-java writes by default.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Kafka's default level, which stands for the fast compressor and not for this level of LZ4 HC.
pub const LZ4_LEVEL_FAST: i32 = 9;
/// The largest level that may be configured; from 12 on they are the same.
const LZ4_LEVEL_MAX: u32 = 17;
/// Below it liblz4 would take the fast compressor, where Kafka takes LZ4 HC at the lowest of its levels.
const LZ4_LEVEL_HIGH_MIN: u32 = 2;

/// Deflates at `level`, or at the codec's default. Snappy has no levels.
pub fn compress(
    codec: Codec,
    level: Option<i32>,
    bytes: &[u8],
) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    compress_onto(codec, level, bytes, &mut out)?;
    Ok(out)
}

/// The same, added to what `out` holds already.
pub fn compress_onto(
    codec: Codec,
    level: Option<i32>,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    match codec {
        Codec::None => out.extend_from_slice(bytes),
        Codec::Gzip => {
            let level = match level {
                None | Some(-1) => flate2::Compression::default(),
                Some(level @ 0..=9) => flate2::Compression::new(level.unsigned_abs()),
                Some(level) => return Err(CompressionError::Level(level)),
            };
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder
                .write_all(bytes)
                .and_then(|()| encoder.finish().map(|_| ()))
                .map_err(|_| CompressionError::Corrupt("gzip"))?;
        }
        Codec::Snappy => compress_snappy(bytes, out)?,
        Codec::Lz4 => match level {
            None | Some(LZ4_LEVEL_FAST) => compress_lz4(bytes, out)?,
            Some(level) => compress_lz4_high(level, bytes, out)?,
        },
        Codec::Zstd => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            if !zstd::compression_level_range().contains(&level) {
                return Err(CompressionError::Level(level));
            }
            zstd::stream::copy_encode(bytes, out, level)
                .map_err(|_| CompressionError::Corrupt("zstd"))?;
        }
    }
    Ok(())
}

/// As fast as LZ4 goes. Kafka's Java reader refuses blocks that depend on each other.
fn compress_lz4(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    const CORRUPT: CompressionError = CompressionError::Corrupt("lz4");
    let frame = lz4_flex::frame::FrameInfo::new()
        .block_mode(lz4_flex::frame::BlockMode::Independent)
        .block_size(lz4_flex::frame::BlockSize::Max64KB);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
    encoder.write_all(bytes).map_err(|_| CORRUPT)?;
    encoder.finish().map_err(|_| CORRUPT)?;
    Ok(())
}

/// LZ4 HC: smaller and slower from level to level; the frame is the same.
fn compress_lz4_high(level: i32, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let level = match u32::try_from(level) {
        Ok(number @ 1..=LZ4_LEVEL_MAX) => number.max(LZ4_LEVEL_HIGH_MIN),
        _ => return Err(CompressionError::Level(level)),
    };
    const CORRUPT: CompressionError = CompressionError::Corrupt("lz4");
    let mut encoder = lz4::EncoderBuilder::new()
        .level(level)
        .block_mode(lz4::BlockMode::Independent)
        .block_size(lz4::BlockSize::Max64KB)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .build(out)
        .map_err(|_| CORRUPT)?;
    encoder.write_all(bytes).map_err(|_| CORRUPT)?;
    encoder.finish().1.map_err(|_| CORRUPT)
}

fn compress_snappy(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    const CORRUPT: CompressionError = CompressionError::Corrupt("snappy");
    out.reserve(XERIAL_HEADER_BYTES + bytes.len() / 2);
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).map_err(|_| CORRUPT)?;
        let length = i32::try_from(packed.len()).map_err(|_| CORRUPT)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::decompress;

    #[test]
    fn high_levels_of_lz4_are_smaller_and_read_the_same() {
        let text: Vec<u8> = (0..20_000u32)
            .flat_map(|n| format!("{{\"user\":{},\"item\":{}}}", n * n % 977, n % 31).into_bytes())
            .collect();
        let packed = |level| compress(Codec::Lz4, Some(level), &text).unwrap();
        assert_eq!(
            packed(LZ4_LEVEL_FAST),
            compress(Codec::Lz4, None, &text).unwrap()
        );
        for level in 1..=17 {
            assert_eq!(
                decompress(Codec::Lz4, &packed(level), text.len()).as_ref(),
                Ok(&text)
            );
        }
        assert!(packed(3).len() < packed(LZ4_LEVEL_FAST).len());
        assert!(packed(17).len() < packed(3).len());
        for level in [0, 18, -1] {
            let refused = compress(Codec::Lz4, Some(level), &text);
            assert_eq!(refused, Err(CompressionError::Level(level)));
        }
    }
}
