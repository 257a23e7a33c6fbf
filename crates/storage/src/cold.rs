//! Batches that are not in memory: what brings them, and in which form they come. A [`Load`] is run without any lock; it
//! gives bytes in memory or spans of files, which whoever can sends as they lie there.

use super::buffer::Slice;
use super::engine::ReadFailed;
use rustka_core::batch::batches;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// In which form batches are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In memory, for somebody who reads alone.
    Alone,
    /// In memory, for a consumer: others may want the same soon.
    Memory,
    /// As they lie in their files, for a consumer at a socket that takes them from there; in memory where that is not
    /// worth it or cannot be done.
    Files,
}

/// Whole batches, one after the other.
#[derive(Clone, Debug)]
pub enum Piece {
    /// In memory.
    Memory(Slice),
    /// In a file.
    File(FileSpan),
}

impl Piece {
    /// How many bytes they are.
    pub fn bytes(&self) -> usize {
        match self {
            Piece::Memory(slice) => slice.len(),
            Piece::File(span) => span.bytes(),
        }
    }

    /// Its first bytes, which are no more than it has.
    pub fn first(&self, bytes: usize) -> Piece {
        match self {
            Piece::Memory(slice) => Piece::Memory(slice.slice(0, bytes)),
            Piece::File(span) => Piece::File(span.part(0, bytes)),
        }
    }
}

/// A file of which spans are sent. It stays open, and so it stays, for as long as anybody holds it.
pub trait SpanFile: Send + Sync {
    /// How many of these bytes can be had from their beginning on without waiting for a disk, as far as a cheap look
    /// tells.
    fn at_hand(&self, at: u64, bytes: usize) -> usize;

    /// Has these bytes at hand, after waiting for the disk where it has to.
    ///
    /// # Errors
    /// They cannot be read, or the file ends before them.
    fn fetch(&self, at: u64, bytes: usize) -> io::Result<()>;

    /// Hands at most so many bytes to a socket; how many it took. None means that the file ends there.
    ///
    /// # Errors
    /// Those of the socket, that it is full among them, and of the file.
    fn send(&self, socket: BorrowedFd<'_>, at: u64, bytes: usize) -> io::Result<usize>;
}

/// Bytes of a file that nobody changes any more.
#[derive(Clone)]
pub struct FileSpan {
    file: Arc<dyn SpanFile>,
    at: u64,
    bytes: usize,
}

impl std::fmt::Debug for FileSpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileSpan({} bytes at {})", self.bytes, self.at)
    }
}

impl FileSpan {
    /// So many bytes from there on.
    pub fn new(file: Arc<dyn SpanFile>, at: u64, bytes: usize) -> FileSpan {
        FileSpan { file, at, bytes }
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A part of it, which lies within it.
    pub fn part(&self, from: usize, to: usize) -> FileSpan {
        assert!(from <= to && to <= self.bytes);
        FileSpan {
            file: self.file.clone(),
            at: self.at + from as u64,
            bytes: to - from,
        }
    }

    /// How many of its bytes from `from` on, at most so many, can be sent without waiting for a disk.
    pub fn at_hand(&self, from: usize, bytes: usize) -> usize {
        let bytes = bytes.min(self.bytes.saturating_sub(from));
        self.file.at_hand(self.at + from as u64, bytes)
    }

    /// Has all of it at hand. Takes long: not for a thread that serves others.
    ///
    /// # Errors
    /// It cannot be read, or the file ends before it does.
    pub fn fetch(&self) -> io::Result<()> {
        self.file.fetch(self.at, self.bytes)
    }

    /// Hands at most so many bytes from `from` on to a socket; how many it took.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file was cut; what the socket and the file have to say.
    pub fn send(&self, socket: BorrowedFd<'_>, from: usize, bytes: usize) -> io::Result<usize> {
        let bytes = bytes.min(self.bytes.saturating_sub(from));
        match self.file.send(socket, self.at + from as u64, bytes)? {
            0 if bytes > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            sent => Ok(sent),
        }
    }
}

/// What a load has brought.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Whole batches, one after the other.
    pub pieces: Vec<Piece>,
    /// The offset after the last one's; of no meaning where there is none.
    pub next_offset: i64,
}

impl Loaded {
    /// Of what lies in memory.
    pub fn of(slices: Vec<Slice>) -> Loaded {
        Loaded {
            next_offset: slices.last().map_or(i64::MIN, |last| end_of(last)),
            pieces: slices.into_iter().map(Piece::Memory).collect(),
        }
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(Piece::bytes).sum()
    }
}

/// Where the last batch ends.
fn end_of(slice: &[u8]) -> i64 {
    let last = batches(slice).map_while(Result::ok).last();
    let last = last.and_then(|(header, _)| header.last_offset());
    last.map_or(i64::MAX, |last| last.saturating_add(1))
}

/// A read of what lies where reading takes time.
pub trait ColdRead: Send {
    /// What of it is at hand after all: whole batches as asked for, or fewer, but at least one. Nothing where somebody
    /// would have to wait for them, or to work for long. Waits for no disk.
    fn at_hand(&self, form: Form) -> Option<Loaded>;

    /// All of it, in spans of files at most where that form was asked for. What is in them can be sent without waiting.
    fn run(self: Box<Self>, form: Form) -> Result<Loaded, ReadFailed>;
}

/// Batches that have to be fetched from where they lie.
pub struct Load {
    bytes: usize,
    read: Box<dyn ColdRead>,
}

impl Load {
    /// A load of about so many bytes: of none only if it gives none.
    pub fn new(bytes: usize, read: impl ColdRead + 'static) -> Load {
        Load {
            bytes,
            read: Box::new(read),
        }
    }

    /// The same of what comes in memory, and is never at hand.
    pub fn by(
        bytes: usize,
        run: impl FnOnce() -> Result<Vec<Slice>, ReadFailed> + Send + 'static,
    ) -> Load {
        Load::new(bytes, InMemory(run))
    }

    /// About how many bytes it gives.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What of it is at hand, which may be less than all; nothing where it has to be run. Waits for no disk.
    pub fn at_hand(&self, form: Form) -> Option<Loaded> {
        self.read.at_hand(form)
    }

    /// Fetches them. Takes long: not for a thread that serves others, and not under a lock.
    pub fn run_as(self, form: Form) -> Result<Loaded, ReadFailed> {
        self.read.run(form)
    }

    /// The same into memory, for somebody who reads alone.
    pub fn run(self) -> Result<Vec<Slice>, ReadFailed> {
        let loaded = self.run_as(Form::Alone)?;
        let slices = loaded.pieces.into_iter().map(|piece| match piece {
            Piece::Memory(slice) => Ok(slice),
            Piece::File(_) => Err(ReadFailed),
        });
        slices.collect()
    }
}

struct InMemory<F>(F);

impl<F: FnOnce() -> Result<Vec<Slice>, ReadFailed> + Send> ColdRead for InMemory<F> {
    fn at_hand(&self, _form: Form) -> Option<Loaded> {
        None
    }

    fn run(self: Box<Self>, _form: Form) -> Result<Loaded, ReadFailed> {
        (self.0)().map(Loaded::of)
    }
}
