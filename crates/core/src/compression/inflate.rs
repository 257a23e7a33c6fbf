//! Inflating: exactly what the readers of Kafka's Java clients and brokers can read, and where these stop, we do.
//!
//! What a broker stores that those readers cannot read stops their consumers for good, and what they can read has to
//! be stored. They differ from the formats' specifications and from each other in what may stand between frames and
//! behind the last one; `E55-read-*` of the recorded scenarios has the cases.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use super::{Codec, CompressionError};

/// How much is inflated before the bound is looked at again.
const STEP_BYTES: usize = 32 * 1024;

/// Inflates to at most `max_bytes`, or says that there would be more.
pub fn decompress(
    codec: Codec,
    bytes: &[u8],
    max_bytes: usize,
) -> Result<Vec<u8>, CompressionError> {
    let inflate = match codec {
        Codec::None if bytes.len() > max_bytes => {
            return Err(CompressionError::TooLarge { max_bytes });
        }
        Codec::None => return Ok(bytes.to_vec()),
        Codec::Gzip => gzip::inflate,
        Codec::Snappy => snappy::inflate,
        Codec::Lz4 => lz4::inflate,
        Codec::Zstd => zstd::inflate,
    };
    let mut out = Output::new(bytes.len(), max_bytes);
    match inflate(bytes, &mut out) {
        Ok(()) => Ok(out.bytes),
        Err(Stop::TooLarge) => Err(CompressionError::TooLarge { max_bytes }),
        Err(Stop::Corrupt) => Err(CompressionError::Corrupt(codec.name())),
    }
}

/// Why a reader goes no further.
enum Stop {
    /// Kafka's reader would throw an exception here.
    Corrupt,
    /// More would come out than is allowed.
    TooLarge,
}

/// What came out so far, and its bound.
struct Output {
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl Output {
    fn new(compressed_bytes: usize, max_bytes: usize) -> Output {
        let likely = compressed_bytes.saturating_mul(2).min(max_bytes);
        Output {
            bytes: Vec::with_capacity(likely),
            max_bytes,
        }
    }

    /// Makes room for a further step. One byte more than allowed may come out, which tells the end from a bomb.
    fn reserve_step(&mut self) {
        let room = self
            .max_bytes
            .saturating_add(1)
            .saturating_sub(self.bytes.len());
        self.bytes.reserve(room.min(STEP_BYTES));
    }

    fn check(&self) -> Result<(), Stop> {
        match self.bytes.len() > self.max_bytes {
            true => Err(Stop::TooLarge),
            false => Ok(()),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.len() > self.max_bytes.saturating_sub(self.bytes.len()) {
            return Err(Stop::TooLarge);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// The first `N` bytes, which are taken off.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Stop> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(Stop::Corrupt)?;
    *rest = after;
    Ok(*taken)
}

/// The first `length` bytes, which are taken off.
fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Stop> {
    let (taken, after) = rest.split_at_checked(length).ok_or(Stop::Corrupt)?;
    *rest = after;
    Ok(taken)
}
