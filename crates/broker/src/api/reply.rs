//! One encoded answer, with shared records between its bytes.

use rustka_storage::cold::Piece;
use rustka_wire::codec::Writer;

/// One encoded answer, its length prefix included.
#[derive(Debug, Default)]
pub struct Reply {
    pub(crate) bytes: Vec<u8>,
    /// Records and the place in `bytes` before which each of them goes, in order.
    pub(crate) pieces: Vec<(usize, Piece)>,
    /// For so long the connection is not read after it.
    pub(crate) mute_ms: u32,
    /// What becomes of it.
    pub(crate) fate: Fate,
}

/// What becomes of an answer. All but the first are faults on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It is sent.
    #[default]
    Whole,
    /// Only so many bytes of it are sent, and the connection is closed.
    Cut(usize),
    /// It is not sent, nor is anything after it.
    Never,
}

impl Reply {
    /// Closes a frame that was begun with four bytes for its length; `slots` are what the writer's splices name.
    pub fn finish(writer: Writer, slots: &[Vec<Piece>]) -> Reply {
        let Writer {
            buf: mut bytes,
            splices,
            ..
        } = writer;
        let mut pieces = Vec::new();
        let mut spliced = 0;
        for splice in splices {
            for piece in &slots[splice.slot as usize] {
                spliced += piece.bytes();
                pieces.push((splice.at, piece.clone()));
            }
        }
        let length = (bytes.len() - 4 + spliced) as u32;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        Reply {
            bytes,
            pieces,
            ..Reply::default()
        }
    }

    /// A frame of these bytes alone, as the messages of a login are that began with the first SaslHandshake.
    pub fn raw(message: &[u8]) -> Reply {
        let mut bytes = Vec::with_capacity(4 + message.len());
        bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
        bytes.extend_from_slice(message);
        Reply {
            bytes,
            ..Reply::default()
        }
    }

    /// No more than so many bytes of it, which is no whole frame.
    pub fn cut(self, bytes: usize) -> Reply {
        let mut cut = Reply::default();
        let (mut at, mut left) = (0, bytes);
        for (place, piece) in self.pieces {
            let before = left.min(place - at);
            cut.bytes.extend_from_slice(&self.bytes[at..at + before]);
            left -= before;
            at = place;
            let part = left.min(piece.bytes());
            left -= part;
            if part > 0 {
                cut.pieces.push((cut.bytes.len(), piece.first(part)));
            }
        }
        let rest = &self.bytes[at..];
        cut.bytes.extend_from_slice(&rest[..left.min(rest.len())]);
        cut
    }

    /// The same, and after it the connection is not read for so long (KIP-219).
    pub fn then_mute(self, mute_ms: u32) -> Reply {
        Reply { mute_ms, ..self }
    }

    /// Size of the whole frame.
    pub fn bytes(&self) -> usize {
        let shared: usize = self.pieces.iter().map(|(_, piece)| piece.bytes()).sum();
        self.bytes.len() + shared
    }

    /// The whole frame in one piece; nothing if some of it lies in a file.
    pub fn to_vec(&self) -> Option<Vec<u8>> {
        let mut whole = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        for (place, piece) in &self.pieces {
            let Piece::Memory(slice) = piece else {
                return None;
            };
            whole.extend_from_slice(&self.bytes[at..*place]);
            whole.extend_from_slice(slice);
            at = *place;
        }
        whole.extend_from_slice(&self.bytes[at..]);
        Some(whole)
    }
}
