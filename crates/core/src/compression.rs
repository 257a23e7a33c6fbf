//! The five codecs of record batches. Inflating is streamed and bounded: memory follows what came out, never a length that was declared.

mod deflate;
mod inflate;

pub use deflate::{LZ4_LEVEL_FAST, compress, compress_onto};
pub use inflate::decompress;

use std::fmt;

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

    /// Kafka's reader ends with the first frame, so a second one is no part of the records.
    #[test]
    fn what_stands_behind_an_lz4_frame_is_left_alone() {
        let mut joined = compress(Codec::Lz4, None, b"one").unwrap();
        joined.extend(compress(Codec::Lz4, None, b"two").unwrap());
        assert_eq!(decompress(Codec::Lz4, &joined, 100), Ok(b"one".to_vec()));
    }

    #[test]
    fn lz4_blocks_of_every_size_are_read() {
        use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
        let data = sample(5_000_000);
        for size in [
            BlockSize::Max64KB,
            BlockSize::Max256KB,
            BlockSize::Max1MB,
            BlockSize::Max4MB,
        ] {
            let info = FrameInfo::new()
                .block_size(size)
                .block_checksums(true)
                .content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&data).unwrap();
            let packed = encoder.finish().unwrap();
            let inflated = decompress(Codec::Lz4, &packed, data.len());
            assert!(inflated == Ok(data.clone()));
            let max_bytes = data.len() - 1;
            assert_eq!(
                decompress(Codec::Lz4, &packed, max_bytes),
                Err(CompressionError::TooLarge { max_bytes })
            );
        }
    }

    /// Batches were refused that every Kafka takes.
    #[test]
    fn zeros_behind_a_gzip_stream_are_left_alone() {
        let mut padded = compress(Codec::Gzip, None, b"one").unwrap();
        padded.extend([0; 512]);
        assert_eq!(decompress(Codec::Gzip, &padded, 100), Ok(b"one".to_vec()));
    }

    #[test]
    fn streams_longer_than_the_readers_buffers_are_whole() {
        let data = sample(1_000_000);
        let (front, back) = data.split_at(600_001);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Zstd] {
            let mut joined = compress(codec, None, front).unwrap();
            joined.extend(compress(codec, None, back).unwrap());
            assert!(decompress(codec, &joined, data.len()) == Ok(data.clone()));
        }
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
