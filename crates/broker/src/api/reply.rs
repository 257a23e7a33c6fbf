//! One encoded answer, with shared record slices between its bytes.

use rustka_storage::buffer::Slice;
use rustka_wire::codec::Writer;

/// One encoded answer, its length prefix included.
#[derive(Debug, Default)]
pub struct Reply {
    pub(crate) bytes: Vec<u8>,
    /// Shared slices and the place in `bytes` before which each goes, in order.
    pub(crate) slices: Vec<(usize, Slice)>,
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
    pub fn finish(writer: Writer, slots: &[Vec<Slice>]) -> Reply {
        let Writer {
            buf: mut bytes,
            splices,
            ..
        } = writer;
        let mut slices = Vec::new();
        let mut spliced = 0;
        for splice in splices {
            for slice in &slots[splice.slot as usize] {
                spliced += slice.len();
                slices.push((splice.at, slice.clone()));
            }
        }
        let length = (bytes.len() - 4 + spliced) as u32;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        Reply {
            bytes,
            slices,
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
    pub fn cut(&self, bytes: usize) -> Reply {
        let mut whole = self.to_vec();
        whole.truncate(bytes);
        Reply {
            bytes: whole,
            ..Reply::default()
        }
    }

    /// The same, and after it the connection is not read for so long (KIP-219).
    pub fn then_mute(self, mute_ms: u32) -> Reply {
        Reply { mute_ms, ..self }
    }

    /// Size of the whole frame.
    pub fn bytes(&self) -> usize {
        let shared: usize = self.slices.iter().map(|(_, slice)| slice.len()).sum();
        self.bytes.len() + shared
    }

    /// The whole frame in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        for (place, slice) in &self.slices {
            whole.extend_from_slice(&self.bytes[at..*place]);
            whole.extend_from_slice(slice);
            at = *place;
        }
        whole.extend_from_slice(&self.bytes[at..]);
        whole
    }
}
