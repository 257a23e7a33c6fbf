//! What is in one file of a data directory, piece by piece.

use super::checkpoint;
use super::files::{Files, Mode, OpenFile, SystemFiles};
use super::folder::{Kind, base_of};
use super::index::{OFFSET_ENTRY_BYTES, OffsetEntry, TIME_ENTRY_BYTES};
use super::seek::Headers;
use super::side::{self, ABORTED_ENTRY_BYTES, EPOCHS};
use rustka_core::batch::{BatchHeader, crc_matches};
use rustka_core::epochs::EpochStart;
use rustka_core::producers::{AbortedTransaction, ProducerInfo, Producers};
use std::io;
use std::path::Path;

/// No small file is larger than this.
const SMALL_BYTES_MAX: u64 = 64 << 20;

/// Something in a file.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A batch, and where it begins.
    Batch {
        /// Where in the file.
        at: u64,
        /// What its header says.
        header: &'a BatchHeader,
        /// All of it.
        bytes: &'a [u8],
        /// Whether its checksum fits.
        is_whole: bool,
    },
    /// An entry of an index by offset: a batch's last offset, and where it begins in the segment.
    Offset {
        /// The offset.
        offset: i64,
        /// Where in the segment.
        at: u32,
    },
    /// An entry of an index by time: the latest time up to a batch, and that batch's last offset.
    Time {
        /// Milliseconds since 1970.
        timestamp: i64,
        /// The offset.
        offset: i64,
    },
    /// A row of a file with an offset for each partition.
    Row {
        /// Topic and number.
        partition: &'a str,
        /// The offset.
        offset: i64,
    },
    /// An entry of an index of aborted transactions, and the last stable offset once that one was over.
    Aborted {
        /// The transaction.
        transaction: AbortedTransaction,
        /// The offset.
        last_stable: i64,
    },
    /// What a snapshot says of a producer.
    Producer(ProducerInfo),
    /// A leader epoch and the first offset in it.
    Epoch(EpochStart),
    /// What lies there makes no sense, nor does anything behind it.
    Bad {
        /// Where in the file.
        at: u64,
        /// Why.
        why: String,
    },
}

/// Shows what is in a file, by what it is called, until `visit` says stop. Whether files that are called so are known.
pub fn inspect(path: &Path, visit: &mut dyn FnMut(Piece<'_>) -> bool) -> io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // What compaction or a deletion has not finished has the same in it.
    let name = [".deleted", ".cleaned", ".swap"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(&name);
    let open = || SystemFiles.open(path, Mode::Read);
    if base_of(name, Kind::Log).is_some() {
        batches(&*open()?, visit)?;
    } else if let Some(base_offset) = base_of(name, Kind::Index) {
        entries(&*open()?, OFFSET_ENTRY_BYTES, visit, |bytes| {
            let entry = OffsetEntry::decode(*bytes.first_chunk()?);
            Some(Piece::Offset {
                offset: base_offset.saturating_add(i64::from(entry.offset_delta)),
                at: entry.at,
            })
        })?;
    } else if let Some(base_offset) = base_of(name, Kind::TimeIndex) {
        entries(&*open()?, TIME_ENTRY_BYTES, visit, |bytes| {
            let (timestamp, delta) = bytes.split_first_chunk()?;
            Some(Piece::Time {
                timestamp: i64::from_be_bytes(*timestamp),
                offset: base_offset
                    .saturating_add(i64::from(u32::from_be_bytes(*delta.first_chunk()?))),
            })
        })?;
    } else if base_of(name, Kind::TransactionIndex).is_some() {
        entries(&*open()?, ABORTED_ENTRY_BYTES as u64, visit, |bytes| {
            let (transaction, last_stable) = side::aborted_entries(bytes)?.pop()?;
            Some(Piece::Aborted {
                transaction,
                last_stable,
            })
        })?;
    } else if base_of(name, Kind::Snapshot).is_some() {
        let snapshot = Producers::of_snapshot(&small(&*open()?)?, Vec::new(), 0);
        let why = "it is no snapshot of producers, or its checksum does not fit";
        each(snapshot, why, visit, |snapshot| {
            snapshot.iter().map(Piece::Producer).collect()
        });
    } else if name == EPOCHS {
        let epochs = side::parse_epochs(&String::from_utf8_lossy(&small(&*open()?)?));
        each(epochs, "it does not tell leader epochs", visit, |epochs| {
            epochs.entries().iter().copied().map(Piece::Epoch).collect()
        });
    } else if name.ends_with("-offset-checkpoint") {
        rows(&*open()?, visit)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn batches(file: &dyn OpenFile, visit: &mut dyn FnMut(Piece<'_>) -> bool) -> io::Result<()> {
    let end = file.bytes()?;
    let mut headers = Headers::new(file, 0, end);
    let (mut next, mut bytes) = (0, Vec::new());
    loop {
        let (at, header) = match headers.next() {
            Ok(Some(found)) => found,
            Ok(None) if next < end => {
                let why = "it ends within a batch".to_owned();
                visit(Piece::Bad { at: next, why });
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(error) => {
                let why = error.to_string();
                visit(Piece::Bad { at: next, why });
                return Ok(());
            }
        };
        bytes.resize(header.total_bytes(), 0);
        if file.read_at(&mut bytes, at)? < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        next = at + bytes.len() as u64;
        let piece = Piece::Batch {
            at,
            header: &header,
            bytes: &bytes,
            is_whole: crc_matches(&bytes),
        };
        if !visit(piece) {
            return Ok(());
        }
    }
}

fn entries(
    file: &dyn OpenFile,
    entry_bytes: u64,
    visit: &mut dyn FnMut(Piece<'_>) -> bool,
    decode: impl Fn(&[u8]) -> Option<Piece<'static>>,
) -> io::Result<()> {
    let end = file.bytes()?;
    let mut entry = vec![0; entry_bytes as usize];
    let mut at = 0;
    while at < end {
        let read = file.read_at(&mut entry, at)?;
        let piece = entry.get(..read).filter(|_| read == entry.len());
        let piece = piece.and_then(&decode);
        let is_good = piece.is_some();
        let piece = piece.unwrap_or_else(|| Piece::Bad {
            at,
            why: "there is no whole entry".to_owned(),
        });
        if !visit(piece) || !is_good {
            return Ok(());
        }
        at += entry_bytes;
    }
    Ok(())
}

/// All of a small file.
fn small(file: &dyn OpenFile) -> io::Result<Vec<u8>> {
    let size = file.bytes()?.min(SMALL_BYTES_MAX) as usize;
    let mut bytes = vec![0; size];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Shows the pieces of what was read as a whole, or why it could not be.
fn each<T>(
    read: Option<T>,
    why: &str,
    visit: &mut dyn FnMut(Piece<'_>) -> bool,
    pieces: impl Fn(&T) -> Vec<Piece<'static>>,
) {
    match &read {
        Some(read) => {
            let _all = pieces(read).into_iter().all(visit);
        }
        None => {
            let why = why.to_owned();
            visit(Piece::Bad { at: 0, why });
        }
    }
}

fn rows(file: &dyn OpenFile, visit: &mut dyn FnMut(Piece<'_>) -> bool) -> io::Result<()> {
    match checkpoint::parse(&String::from_utf8_lossy(&small(file)?)) {
        Ok(offsets) => {
            for (partition, offset) in &offsets {
                let offset = *offset;
                if !visit(Piece::Row { partition, offset }) {
                    break;
                }
            }
        }
        Err(why) => {
            visit(Piece::Bad { at: 0, why });
        }
    }
    Ok(())
}
