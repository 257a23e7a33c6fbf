//! The LZ4 frame format as Kafka's own reader reads it: one frame of blocks that do not depend on each other. What
//! stands behind the frame is left alone, and an empty block ends it.

use super::{Output, Stop, take, take_slice};
use twox_hash::XxHash32;

const MAGIC: u32 = 0x184d_2204;
const VERSION_BITS: u8 = 0xc0;
const VERSION: u8 = 0x40;
const INDEPENDENT_BLOCKS: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const RESERVED_FLAGS: u8 = 0x03;
const RESERVED_BESIDE_BLOCK_SIZE: u8 = 0x8f;
/// The bit of a block's length that says that it is not compressed.
const PLAIN_BLOCK: u32 = 1 << 31;
/// A block makes at most so many bytes out of one.
const RATIO_MAX: usize = 255;

struct Frame {
    block_bytes_max: usize,
    block_checksums: bool,
    content_checksum: bool,
}

pub(super) fn inflate(bytes: &[u8], out: &mut Output) -> Result<(), Stop> {
    let mut rest = bytes;
    let frame = header(&mut rest)?;
    loop {
        let length = u32::from_le_bytes(take(&mut rest)?);
        if length == 0 {
            if frame.content_checksum {
                // It has to be there, and is not looked at.
                take::<4>(&mut rest)?;
            }
            return Ok(());
        }
        let (length, plain) = (length & !PLAIN_BLOCK, length & PLAIN_BLOCK != 0);
        let length = usize::try_from(length).map_err(|_| Stop::Corrupt)?;
        if length > frame.block_bytes_max {
            return Err(Stop::Corrupt);
        }
        let block = take_slice(&mut rest, length)?;
        if frame.block_checksums && take(&mut rest)? != XxHash32::oneshot(0, block).to_le_bytes() {
            return Err(Stop::Corrupt);
        }
        let before = out.bytes.len();
        match plain {
            true => out.push(block)?,
            false => append_block(block, frame.block_bytes_max, out)?,
        }
        if out.bytes.len() == before {
            return Ok(());
        }
    }
}

fn header(rest: &mut &[u8]) -> Result<Frame, Stop> {
    if u32::from_le_bytes(take(rest)?) != MAGIC {
        return Err(Stop::Corrupt);
    }
    let descriptor = *rest;
    let [flags, sizes] = take(rest)?;
    let size_code = sizes >> 4;
    if flags & VERSION_BITS != VERSION
        || flags & INDEPENDENT_BLOCKS == 0
        || flags & RESERVED_FLAGS != 0
        || sizes & RESERVED_BESIDE_BLOCK_SIZE != 0
        || !(4..=7).contains(&size_code)
    {
        return Err(Stop::Corrupt);
    }
    if flags & CONTENT_SIZE != 0 {
        take::<8>(rest)?;
    }
    let covered = descriptor.len() - rest.len();
    let sum = XxHash32::oneshot(0, descriptor.get(..covered).unwrap_or_default());
    let [said] = take(rest)?;
    if said != (sum >> 8) as u8 {
        return Err(Stop::Corrupt);
    }
    Ok(Frame {
        block_bytes_max: 1 << (8 + 2 * size_code),
        block_checksums: flags & BLOCK_CHECKSUMS != 0,
        content_checksum: flags & CONTENT_CHECKSUM != 0,
    })
}

fn append_block(block: &[u8], block_bytes_max: usize, out: &mut Output) -> Result<(), Stop> {
    let begin = out.bytes.len();
    let most = block_bytes_max.min(block.len().saturating_mul(RATIO_MAX));
    let room = most.min(out.max_bytes - begin);
    out.bytes.resize(begin + room, 0);
    let target = out.bytes.get_mut(begin..).unwrap_or_default();
    match lz4_flex::block::decompress_into(block, target) {
        Ok(length) => {
            out.bytes.truncate(begin + length);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room < most => {
            Err(Stop::TooLarge)
        }
        Err(_) => Err(Stop::Corrupt),
    }
}
