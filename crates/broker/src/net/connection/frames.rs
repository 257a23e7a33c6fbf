//! Frames in: whole ones straight from the thread's read buffer, larger ones as their bytes arrive.

use super::Connection;
use crate::api::request::Frame;
use crate::base::budget::Charge;
use crate::net::transport::Transport;
use crate::node::NOTHING;
use rustka_storage::buffer::BufMut;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;

/// Bytes read at once while no frame has begun.
const READ_BYTES: usize = 32 << 10;
/// Bytes read at once behind a frame that was larger than that: the next one is likely to be, and what is read here of it
/// has to be copied to where the rest of it is received.
const READ_BYTES_OF_LARGE: usize = 512;
/// Largest block allocated for a frame before its bytes are here; larger frames double up to their length. Also
/// what is copied at once when they do.
const FRAME_BYTES_AT_ONCE: usize = 1 << 20;
/// First block of a frame for which the budget has no room: no more than what has arrived already, but this.
const FRAME_BYTES_MIN_BLOCK: usize = 4 << 10;
/// The shortest request: key, version, correlation id.
const FRAME_BYTES_MIN: usize = 8;

thread_local! {
    static READ: RefCell<Box<[MaybeUninit<u8>]>> = RefCell::new(Box::new_uninit_slice(READ_BYTES));
}

/// What is here of the next frame.
pub enum Partial {
    /// Fewer than the four bytes of a length.
    Prefix { bytes: [u8; 4], count: u8 },
    /// A frame whose beginning is here. Apart, as most connections are idle at most times.
    Frame(Box<PartialFrame>),
}

/// A frame of `length` bytes whose beginning is here, and its part of the budget for such frames.
pub struct PartialFrame {
    pub(super) buffer: BufMut,
    length: usize,
    charge: Option<Charge>,
    /// Takes the place of the full buffer once all of that was copied.
    larger: Option<BufMut>,
}

impl<T: Transport> Connection<T> {
    /// Handles whole frames at the front of `data` and begins the last, partial one; the bytes used.
    pub(super) fn process(&mut self, data: &mut [u8]) -> usize {
        let mut at = 0;
        while at < data.len() && self.may_begin() {
            let Partial::Prefix { bytes, count } = &mut self.partial else {
                break;
            };
            while usize::from(*count) < 4 && at < data.len() {
                bytes[usize::from(*count)] = data[at];
                *count += 1;
                at += 1;
            }
            if *count < 4 {
                break;
            }
            let length = i32::from_be_bytes(*bytes);
            *count = 0;
            let bytes_max = self.stage.frame_bytes_max();
            let bytes_max = bytes_max.unwrap_or(self.parts.node.request_bytes_max);
            // The messages of a login may be shorter than any request.
            let bytes_min = self.stage.frame_bytes_max().map_or(FRAME_BYTES_MIN, |_| 0);
            let length = match usize::try_from(length) {
                Ok(length) if (bytes_min..=bytes_max).contains(&length) => length,
                _ => {
                    self.close(&bad_length(length));
                    break;
                }
            };
            if data.len() - at >= length {
                self.frame_since_ms = NOTHING;
                self.sends_large = false;
                self.handle(Frame::Borrowed(&mut data[at..at + length]));
                at += length;
                if at < data.len() {
                    // The turn of the next one has come now, whenever its bytes did.
                    self.received_ms = self.parts.node.clock.monotonic_ms();
                }
            } else {
                let at_once = length.min(FRAME_BYTES_AT_ONCE);
                let charge = self.parts.node.receiving.try_take(at_once);
                let block = match charge {
                    Some(_) => at_once,
                    None => (data.len() - at).clamp(FRAME_BYTES_MIN_BLOCK, READ_BYTES),
                };
                self.parts.node.make_room_for_frame(block);
                let mut buffer = self.parts.node.pool.take(block);
                let here = (data.len() - at).min(buffer.room());
                buffer.push(&data[at..at + here]);
                at += here;
                self.partial = Partial::Frame(Box::new(PartialFrame {
                    buffer,
                    length,
                    charge,
                    larger: None,
                }));
                // More is here than a first block holds only when READ_BYTES exceeds it, which it does not.
                debug_assert!(at == data.len());
            }
        }
        at
    }

    /// Receives more of a frame that has begun; true when it is complete.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let Partial::Frame(frame) = &mut self.partial else {
            return Poll::Ready(Ok(0));
        };
        let PartialFrame {
            buffer,
            length,
            charge,
            larger,
        } = &mut **frame;
        if buffer.room() == 0 && larger.is_none() {
            let bytes = (buffer.len() * 2).min(*length);
            if self
                .parts
                .node
                .receiving
                .poll_grow(charge, bytes, cx)
                .is_pending()
            {
                // It is we who do not read on.
                self.frame_since_ms = self.parts.node.clock.monotonic_ms();
                return Poll::Pending;
            }
            self.parts.node.make_room_for_frame(bytes);
            *larger = Some(self.parts.node.pool.take(bytes));
        }
        if let Some(mut copy) = larger.take() {
            let more = (buffer.len() - copy.len()).min(FRAME_BYTES_AT_ONCE);
            copy.push(&buffer[copy.len()..][..more]);
            if copy.len() < buffer.len() {
                // Copying all of a large frame would keep others waiting for tens of milliseconds.
                *larger = Some(copy);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            *buffer = copy;
        }
        let missing = *length - buffer.len();
        buffer.poll_fill(cx, &mut self.transport, missing)
    }

    pub(super) fn take_frame_if_complete(&mut self) {
        if matches!(&self.partial, Partial::Frame(frame) if frame.buffer.len() == frame.length) {
            let prefix = Partial::Prefix {
                bytes: [0; 4],
                count: 0,
            };
            let frame = std::mem::replace(&mut self.partial, prefix);
            if let Partial::Frame(frame) = frame {
                let PartialFrame { buffer, charge, .. } = *frame;
                self.frame_since_ms = NOTHING;
                self.sends_large = buffer.len() > READ_BYTES;
                self.handle(Frame::Owned(buffer));
                drop(charge);
            }
        }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        READ.with_borrow_mut(|memory| {
            let at_once = match self.sends_large {
                true => READ_BYTES_OF_LARGE,
                false => READ_BYTES,
            };
            let mut into = ReadBuf::uninit(&mut memory[..at_once]);
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut into))?;
            self.note_active();
            let data = into.filled_mut();
            let n = data.len();
            let used = self.process(data);
            if used < n && !self.closing {
                self.stash = Some(self.copied(&data[used..]));
            }
            Poll::Ready(Ok(n))
        })
    }

    /// Goes on with what stood behind a request that has waited.
    pub(super) fn unstash(&mut self, mut stash: BufMut) {
        self.received_ms = self.parts.node.clock.monotonic_ms();
        let used = self.process(&mut stash);
        drop(stash.split_to(used));
        if stash.is_empty() || self.closing {
            return;
        }
        // It may have to wait for long, so it keeps no more memory than it fills.
        if stash.len() <= stash.block_bytes() / 2 {
            stash = self.copied(&stash);
        }
        self.stash = Some(stash);
    }

    fn copied(&self, bytes: &[u8]) -> BufMut {
        let mut copy = self.parts.node.pool.take(bytes.len());
        copy.push(bytes);
        copy
    }

    /// Notes that bytes have come.
    pub(super) fn note_active(&mut self) {
        self.received_ms = self.parts.node.clock.monotonic_ms();
        self.peer.active_ms.store(self.received_ms, Relaxed);
    }
}

fn bad_length(length: i32) -> String {
    match &length.to_be_bytes() {
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"OPTI" => {
            "an HTTP request on the Kafka port".to_owned()
        }
        [0x16, 3, ..] => "a TLS handshake on a port without TLS".to_owned(),
        _ => {
            format!("a request of {length} bytes, outside of what socket.request.max.bytes allows")
        }
    }
}
