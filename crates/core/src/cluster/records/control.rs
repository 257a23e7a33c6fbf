//! Records that controllers write for each other (KIP-595, KIP-853), in batches of their own.

use std::borrow::Cow;

use rustka_wire::kraft_version_record::KRaftVersionRecord;
use rustka_wire::{DecodeError, Reader, Writer};

/// How a snapshot begins.
pub const SNAPSHOT_HEADER: i16 = 3;
/// How it ends.
pub const SNAPSHOT_FOOTER: i16 = 4;
const KRAFT_VERSION: i16 = 5;
const VOTERS: i16 = 6;

/// How controllers agree. Of no use to a cluster of one node, but Kafka wants to find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// The level of `kraft.version`.
    Version(i16),
    /// Who votes: the record as it stands, since later versions of it may say more.
    Voters(Box<[u8]>),
}

/// The key of a control record of this kind.
pub fn key(kind: i16) -> [u8; 4] {
    let [high, low] = kind.to_be_bytes();
    [0, 0, high, low]
}

/// The kind that a key says.
pub fn kind(key: Option<&[u8]>) -> Option<i16> {
    match key? {
        [_, _, high, low, ..] => Some(i16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

impl Quorum {
    /// The record's key and value.
    pub(super) fn encode(&self) -> ([u8; 4], Cow<'_, [u8]>) {
        match self {
            Quorum::Version(level) => {
                let record = KRaftVersionRecord {
                    version: 0,
                    kraft_version: *level,
                };
                let mut value = Writer::with_capacity(8);
                record.encode(&mut value, 0);
                (key(KRAFT_VERSION), value.buf.into())
            }
            Quorum::Voters(record) => (key(VOTERS), Cow::Borrowed(record)),
        }
    }

    /// Reads it; `None` for other kinds.
    pub(super) fn decode(key: Option<&[u8]>, value: &[u8]) -> Result<Option<Quorum>, DecodeError> {
        Ok(match kind(key) {
            Some(KRAFT_VERSION) => {
                let record = KRaftVersionRecord::decode(&mut Reader::new(value), 0)?;
                Some(Quorum::Version(record.kraft_version))
            }
            Some(VOTERS) => Some(Quorum::Voters(value.into())),
            _ => None,
        })
    }
}
