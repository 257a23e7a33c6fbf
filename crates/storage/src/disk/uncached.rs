//! A file that is read past the system's cache: what comes is what the disk has, and what others read stays where it is.

use super::files::OpenFile;
use rustka_core::sync::lock;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

/// What is read at once. Places and sizes are multiples of what any disk asks for, which the last piece of a file need
/// not be.
const PIECE_BYTES: usize = 256 << 10;
/// Where in memory a piece has to lie: at a multiple of this.
const ALIGNED_TO: usize = 4 << 10;

/// See the file's top.
pub(super) struct UncachedFile {
    file: File,
    piece: Mutex<Piece>,
}

/// What was read last.
#[derive(Default)]
struct Piece {
    room: Vec<u8>,
    /// Where in `room` it begins.
    from: usize,
    length: usize,
    at: u64,
}

impl UncachedFile {
    /// Of a file that was opened for it. The system may refuse only now.
    pub fn new(file: File) -> io::Result<UncachedFile> {
        let uncached = UncachedFile {
            file,
            piece: Mutex::default(),
        };
        lock(&uncached.piece).read(&uncached.file, 0)?;
        Ok(uncached)
    }
}

impl Piece {
    /// Reads the piece that begins there.
    fn read(&mut self, file: &File, at: u64) -> io::Result<()> {
        if self.room.is_empty() {
            self.room.resize(PIECE_BYTES + ALIGNED_TO, 0);
            self.from = self.room.as_ptr().align_offset(ALIGNED_TO);
        }
        let (from, to) = (self.from, self.from + PIECE_BYTES);
        let piece = self.room.get_mut(from..to);
        let piece =
            piece.ok_or_else(|| io::Error::other("memory cannot be laid out for the disk"))?;
        self.length = 0;
        self.at = at;
        self.length = loop {
            match file.read_at(piece, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        Ok(())
    }

    /// What of it lies there or behind.
    fn rest(&self, at: u64) -> &[u8] {
        let skipped = at
            .checked_sub(self.at)
            .and_then(|n| usize::try_from(n).ok());
        let here = self.room.get(self.from..self.from + self.length);
        let rest = skipped.and_then(|skipped| here?.get(skipped..));
        rest.unwrap_or_default()
    }
}

impl OpenFile for UncachedFile {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut piece = lock(&self.piece);
        let mut done = 0;
        while let Some(left) = into.get_mut(done..).filter(|left| !left.is_empty()) {
            let next = at + done as u64;
            if piece.rest(next).is_empty() {
                piece.read(&self.file, next - next % PIECE_BYTES as u64)?;
            }
            let rest = piece.rest(next);
            if rest.is_empty() {
                break;
            }
            let length = rest.len().min(left.len());
            left[..length].copy_from_slice(&rest[..length]);
            done += length;
        }
        Ok(done)
    }

    fn write_at(&self, _bytes: &[u8], _at: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn cut(&self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
