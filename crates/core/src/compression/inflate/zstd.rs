//! Zstandard as zstd-jni reads it: any number of frames, skippable ones among them. A frame that is cut is left alone
//! if nothing came out of it and the reader has its beginning from where it has the end of the one before.

use super::{Output, Stop};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// The largest window that Kafka's reader accepts; the pages are touched only as output fills them.
const WINDOW_LOG_MAX: u32 = 27;
/// Kafka's reader takes so much from its source at a time: a block and its header.
const BUFFER_BYTES: usize = (128 << 10) + 3;

pub(super) fn inflate(bytes: &[u8], out: &mut Output) -> Result<(), Stop> {
    let mut decoder = Decoder::new().map_err(|_| Stop::Corrupt)?;
    let window = zstd::stream::raw::DParameter::WindowLogMax(WINDOW_LOG_MAX);
    decoder.set_parameter(window).map_err(|_| Stop::Corrupt)?;
    let mut buffers = bytes.chunks(BUFFER_BYTES);
    let mut buffer = InBuffer::around(&[]);
    let (mut frame_finished, mut more_to_come) = (true, false);
    loop {
        if buffer.pos() == buffer.src.len() && !more_to_come {
            match buffers.next() {
                Some(next) => buffer = InBuffer::around(next),
                None if frame_finished => return Ok(()),
                None => return Err(Stop::Corrupt),
            }
            frame_finished = false;
        }
        let (read, written) = (buffer.pos(), out.bytes.len());
        out.reserve_step();
        let left = {
            let mut target = OutBuffer::around_pos(&mut out.bytes, written);
            decoder.run(&mut buffer, &mut target)
        };
        let left = left.map_err(|_| Stop::Corrupt)?;
        out.check()?;
        frame_finished |= left == 0;
        // What did not fit waits in the decoder.
        more_to_come = left != 0 && out.bytes.len() == out.bytes.capacity();
        let stuck = (buffer.pos(), out.bytes.len()) == (read, written);
        if stuck && left != 0 && read < buffer.src.len() {
            return Err(Stop::Corrupt);
        }
    }
}
