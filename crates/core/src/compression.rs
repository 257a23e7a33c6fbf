//! The five codecs of record batches. Inflating is streamed and bounded: memory follows what came out, never a length that was declared.

mod deflate;

pub use deflate::{LZ4_LEVEL_FAST, compress, compress_onto};

use std::fmt;
use std::io::{BufRead, Read};

/// What the broker lets a batch inflate to while it validates, searches or compacts it.
pub const INFLATE_BYTES_MAX: usize = 64 << 20;

/// How far a compressed batch may be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InflateLimits {
    /// All of its records together.
    pub batch_bytes_max: usize,
    /// One record, without the length before it (`max.decompressed.message.bytes`).
    pub record_bytes_max: usize,
}

impl Default for InflateLimits {
    fn default() -> Self {
        InflateLimits {
            batch_bytes_max: INFLATE_BYTES_MAX,
            record_bytes_max: usize::MAX,
        }
    }
}

/// What a snappy-java stream begins with. Kafka's Java clients write this framing; librdkafka and others write bare blocks.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
/// A snappy element makes at most 64 bytes out of 3, so a block that promises more than this per byte lies.
const SNAPPY_RATIO_MAX: usize = 22;
/// What an LZ4 frame begins with.
const LZ4_MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// How much is inflated before the bound is looked at again.
const STEP_BYTES: usize = 32 * 1024;
/// The largest window Kafka's own zstd decoder accepts; the pages are touched only as output fills them.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How the records of a batch are compressed: the low three bits of its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Records as they are.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy, bare or in snappy-java's framing.
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// Zstandard (Produce and Fetch from version 7 and 10 on).
    Zstd = 4,
}

impl Codec {
    /// Every codec, in order of its id.
    pub const ALL: [Codec; 5] = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];

    /// The codec with this id, if there is one.
    pub fn from_id(id: u8) -> Option<Codec> {
        Codec::ALL.get(usize::from(id)).copied()
    }

    /// The id in a batch's attributes.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The name in `compression.type`; `None` is `uncompressed` there.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "uncompressed",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// Why bytes could not be inflated or deflated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompressionError {
    /// The bytes are not what the codec writes.
    Corrupt(&'static str),
    /// More would come out than the caller allowed.
    TooLarge {
        /// The bound that was given.
        max_bytes: usize,
    },
    /// The level is outside the codec's range.
    Level(i32),
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompressionError::Corrupt(codec) => write!(f, "corrupt {codec} data"),
            CompressionError::TooLarge { max_bytes } => {
                write!(f, "inflates to more than {max_bytes} bytes")
            }
            CompressionError::Level(level) => write!(f, "no compression level {level}"),
        }
    }
}

impl std::error::Error for CompressionError {}

/// Inflates to at most `max_bytes`, or says that there would be more.
pub fn decompress(
    codec: Codec,
    bytes: &[u8],
    max_bytes: usize,
) -> Result<Vec<u8>, CompressionError> {
    match codec {
        Codec::None if bytes.len() > max_bytes => Err(CompressionError::TooLarge { max_bytes }),
        Codec::None => Ok(bytes.to_vec()),
        Codec::Gzip => {
            let decoder = flate2::bufread::MultiGzDecoder::new(bytes);
            read_bounded(decoder, bytes.len(), max_bytes, "gzip")
        }
        Codec::Snappy => decompress_snappy(bytes, max_bytes),
        Codec::Lz4 => decompress_lz4(bytes, max_bytes),
        Codec::Zstd => {
            let corrupt = |_| CompressionError::Corrupt("zstd");
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(corrupt)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(corrupt)?;
            read_bounded(decoder, bytes.len(), max_bytes, "zstd")
        }
    }
}

fn read_bounded(
    mut source: impl Read,
    compressed_bytes: usize,
    max_bytes: usize,
    codec: &'static str,
) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::with_capacity(compressed_bytes.saturating_mul(2).min(max_bytes));
    loop {
        // One byte more than allowed tells the end from a bomb.
        let room = max_bytes.saturating_add(1).saturating_sub(out.len());
        let step = room.min(STEP_BYTES) as u64;
        let read = (&mut source)
            .take(step)
            .read_to_end(&mut out)
            .map_err(|_| CompressionError::Corrupt(codec))?;
        if out.len() > max_bytes {
            return Err(CompressionError::TooLarge { max_bytes });
        }
        if read == 0 {
            return Ok(out);
        }
    }
}

/// Frames, joined; each gets a decoder of its own, because one that goes on to the next keeps the first one's sizes.
fn decompress_lz4(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    const CORRUPT: CompressionError = CompressionError::Corrupt("lz4");
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        // Neither the old format nor skippable frames are what Kafka's clients write.
        if !rest.starts_with(&LZ4_MAGIC) {
            return Err(CORRUPT);
        }
        let mut decoder = lz4_flex::frame::FrameDecoder::new(&mut rest);
        loop {
            let block = decoder.fill_buf().map_err(|_| CORRUPT)?;
            if block.is_empty() {
                break;
            }
            if block.len() > max_bytes.saturating_sub(out.len()) {
                return Err(CompressionError::TooLarge { max_bytes });
            }
            out.extend_from_slice(block);
            let length = block.len();
            decoder.consume(length);
        }
    }
    Ok(out)
}

fn decompress_snappy(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    const CORRUPT: CompressionError = CompressionError::Corrupt("snappy");
    let mut out = Vec::new();
    if !bytes.starts_with(&XERIAL_MAGIC) {
        append_snappy_block(bytes, max_bytes, &mut out)?;
        return Ok(out);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        // Streams may be joined: every one begins with its own header.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEADER_BYTES..).ok_or(CORRUPT)?;
            continue;
        }
        let (length, after) = rest.split_first_chunk::<4>().ok_or(CORRUPT)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| CORRUPT)?;
        let (block, after) = after.split_at_checked(length).ok_or(CORRUPT)?;
        append_snappy_block(block, max_bytes, &mut out)?;
        rest = after;
    }
    Ok(out)
}

fn append_snappy_block(
    block: &[u8],
    max_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    const CORRUPT: CompressionError = CompressionError::Corrupt("snappy");
    let length = snap::raw::decompress_len(block).map_err(|_| CORRUPT)?;
    if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(CORRUPT);
    }
    let start = out.len();
    let end = start
        .checked_add(length)
        .filter(|end| *end <= max_bytes)
        .ok_or(CompressionError::TooLarge { max_bytes })?;
    out.resize(end, 0);
    let target = out.get_mut(start..).ok_or(CORRUPT)?;
    let written = snap::raw::Decoder::new()
        .decompress(block, target)
        .map_err(|_| CORRUPT)?;
    if written == length {
        Ok(())
    } else {
        Err(CORRUPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const PACKING: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn sample(bytes: usize) -> Vec<u8> {
        (0..bytes)
            .map(|i| u8::try_from(i * i / 7 % 251).unwrap())
            .collect()
    }

    #[test]
    fn every_codec_gives_back_what_it_took() {
        for codec in Codec::ALL {
            for bytes in [0, 1, 1000, 32 * 1024, 200_000] {
                let data = sample(bytes);
                let packed = compress(codec, None, &data).unwrap();
                assert_eq!(decompress(codec, &packed, bytes), Ok(data), "{codec:?}");
            }
        }
    }

    /// Attacks, row 18.
    #[test]
    fn a_bomb_stops_at_the_bound() {
        let zeros = vec![0; 2 << 20];
        for codec in PACKING {
            let bomb = compress(codec, None, &zeros).unwrap();
            let max_bytes = 64 << 10;
            assert_eq!(
                decompress(codec, &bomb, max_bytes),
                Err(CompressionError::TooLarge { max_bytes }),
                "{codec:?}"
            );
        }
    }

    #[test]
    fn one_byte_over_the_bound_is_too_much() {
        for codec in Codec::ALL {
            let packed = compress(codec, None, &sample(70_000)).unwrap();
            assert!(decompress(codec, &packed, 70_000).is_ok());
            assert!(decompress(codec, &packed, 69_999).is_err());
        }
    }

    /// Attacks, row 18: what a block says of its size is no reason to allocate.
    #[test]
    fn bare_snappy_is_understood_and_its_declared_length_is_not_believed() {
        let data = sample(5000);
        let bare = snap::raw::Encoder::new().compress_vec(&data).unwrap();
        assert_eq!(decompress(Codec::Snappy, &bare, 1 << 20), Ok(data));
        // Two bytes cannot make 45 out of themselves.
        let lie = [45, 0];
        assert_eq!(
            decompress(Codec::Snappy, &lie, usize::MAX),
            Err(CompressionError::Corrupt("snappy"))
        );
    }

    #[test]
    fn joined_snappy_streams_are_one() {
        let mut joined = compress(Codec::Snappy, None, b"one ").unwrap();
        joined.extend(compress(Codec::Snappy, None, b"two").unwrap());
        assert_eq!(
            decompress(Codec::Snappy, &joined, 100),
            Ok(b"one two".to_vec())
        );
    }

    #[test]
    fn joined_gzip_members_are_one() {
        let mut joined = compress(Codec::Gzip, None, b"one ").unwrap();
        joined.extend(compress(Codec::Gzip, None, b"two").unwrap());
        assert_eq!(
            decompress(Codec::Gzip, &joined, 100),
            Ok(b"one two".to_vec())
        );
    }

    /// Two frames with blocks of different sizes went through one decoder, which took the second for the first: whoever
    /// produced such a batch to a debug build had its connection closed by a panic.
    #[test]
    fn joined_lz4_frames_may_differ_in_their_block_size() {
        let large =
            lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max4MB);
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(large, Vec::new());
        encoder.write_all(b"one ").unwrap();
        let mut joined = encoder.finish().unwrap();
        joined.extend(compress(Codec::Lz4, None, b"two").unwrap());
        assert_eq!(
            decompress(Codec::Lz4, &joined, 100),
            Ok(b"one two".to_vec())
        );
        assert_eq!(
            decompress(Codec::Lz4, &joined, 5),
            Err(CompressionError::TooLarge { max_bytes: 5 })
        );
    }

    #[test]
    fn cut_or_wrong_bytes_are_an_error_and_never_a_panic() {
        for codec in PACKING {
            let packed = compress(codec, None, &sample(3000)).unwrap();
            for cut in 1..packed.len() {
                if let Ok(out) = decompress(codec, &packed[..cut], 1 << 20) {
                    assert!(out.len() <= 3000, "{codec:?}");
                }
            }
            for at in 0..packed.len() {
                let mut broken = packed.clone();
                broken[at] ^= 0x55;
                if let Ok(out) = decompress(codec, &broken, 1 << 20) {
                    assert!(out.len() <= 1 << 20);
                }
            }
        }
    }

    #[test]
    fn levels_outside_the_range_are_refused() {
        assert_eq!(
            compress(Codec::Gzip, Some(10), b"x"),
            Err(CompressionError::Level(10))
        );
        assert_eq!(
            compress(Codec::Zstd, Some(99), b"x"),
            Err(CompressionError::Level(99))
        );
        assert!(compress(Codec::Zstd, Some(-5), b"x").is_ok());
    }
}
