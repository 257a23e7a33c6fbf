//! Answers on their way to a socket: encoded bytes with shared record slices, and spans of files, between them.

#[cfg(test)]
mod tests;

use crate::api::reply::Reply;
use crate::base::turns::{Turn, Turns};
use crate::base::work::Work;
use crate::net::transport::Transport;
use rustka_storage::buffer::{BlockRef, Slice};
use rustka_storage::cold::{self, FileSpan};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

/// Pieces handed to the kernel in one write.
const IO_SLICES_MAX: usize = 64;
/// Bytes after which a connection lets others write, and what is handed to the kernel at once, give or take a piece.
const FLUSH_BYTES: usize = 1 << 20;
/// So much is sent of files before others have their turn, by all together who send any: the thread copies nothing, but the
/// kernel works on it all the same.
const SEND_BYTES: usize = 1 << 20;
/// The least of that for each. Whoever gives way while nobody else has anything to do wakes a thread in vain.
const SEND_BYTES_MIN: usize = 256 << 10;
/// Places for pieces that an idle connection keeps.
const PIECES_KEPT: usize = 4;
/// Encoded answers below this size are gathered into one piece.
const GATHER_BYTES_MAX: usize = 16 << 10;

enum Piece {
    Own(Vec<u8>),
    Shared(Slice),
    File(FileSpan),
}

impl Piece {
    /// Its bytes, if they are in memory.
    fn here(&self) -> Option<&[u8]> {
        match self {
            Piece::Own(bytes) => Some(bytes),
            Piece::Shared(slice) => Some(slice),
            Piece::File(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Piece::Own(bytes) => bytes.len(),
            Piece::Shared(slice) => slice.len(),
            Piece::File(span) => span.bytes(),
        }
    }
}

/// What was at hand when the answer was made and is no longer is brought again.
type Fetching = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// A connection's unsent answers, in order.
#[derive(Default)]
pub struct Out {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are already sent.
    sent: usize,
    /// Bytes not yet handed to the kernel.
    unsent: usize,
    /// Whether any were since [`Out::take_moved`].
    moved: bool,
    /// Whether the transport may still keep some for itself.
    unflushed: bool,
    /// Brings what is to be sent next of a file.
    fetching: Option<Fetching>,
    /// From the first file that is sent on, until there is an answer without any: who reads on and on sends files with
    /// others although there are moments at which it does not.
    sending: Option<Turn>,
}

impl Out {
    /// Whether everything has been handed to the kernel.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && !self.unflushed
    }

    /// Bytes not yet handed to the kernel.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// Whether the kernel has taken anything since the last time this was asked.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The blocks of record memory that unsent answers hold.
    pub fn blocks(&self) -> Vec<BlockRef> {
        let shared = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Shared(slice) => Some(slice.block_ref()),
            Piece::Own(_) | Piece::File(_) => None,
        });
        shared.collect()
    }

    /// Puts an answer behind the others.
    pub fn push(&mut self, reply: Reply) {
        self.unsent += reply.bytes();
        let Reply { bytes, pieces, .. } = reply;
        let is_file = |(_, piece): &(usize, cold::Piece)| matches!(piece, cold::Piece::File(_));
        if !pieces.iter().any(is_file) {
            self.sending = None;
        }
        if pieces.is_empty() {
            return self.push_own(bytes);
        }
        let mut at = 0;
        for (place, piece) in pieces {
            if place > at {
                self.push_own(bytes[at..place].to_vec());
            }
            at = place;
            self.pieces.push_back(match piece {
                cold::Piece::Memory(slice) => Piece::Shared(slice),
                cold::Piece::File(span) => Piece::File(span),
            });
        }
        if at < bytes.len() {
            self.push_own(bytes[at..].to_vec());
        }
    }

    fn push_own(&mut self, bytes: Vec<u8>) {
        if let Some(Piece::Own(last)) = self.pieces.back_mut()
            && last.len() + bytes.len() <= GATHER_BYTES_MAX
        {
            last.extend_from_slice(&bytes);
        } else {
            // Most connections of many have had one answer at a time, and would keep room for four.
            if self.pieces.capacity() == 0 {
                self.pieces.reserve_exact(1);
            }
            self.pieces.push_back(Piece::Own(bytes));
        }
    }

    /// Writes until everything is sent or the socket is full, in turns with others: a socket takes megabytes at once,
    /// and hundreds of large answers would hold up a small one for a second. Spans of files that are not at hand are
    /// brought by `loads`, and share a turn with others who send files as `turns` says.
    pub fn poll_flush<T: Transport>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut T,
        loads: &Work,
        turns: &Turns,
    ) -> Poll<io::Result<()>> {
        let (mut written, mut left) = (0, turns.share(SEND_BYTES, SEND_BYTES_MIN));
        while !self.pieces.is_empty() {
            if written >= FLUSH_BYTES || left == 0 {
                return give_way(cx);
            }
            self.unflushed = true;
            let n = match self.pieces.front() {
                Some(Piece::File(_)) => {
                    self.sending.get_or_insert_with(|| turns.take());
                    let n = ready!(self.poll_send(cx, to, loads, left))?;
                    left -= n;
                    n
                }
                _ => ready!(self.poll_write(cx, to))?,
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            written += n;
            self.consume(n);
        }
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        // An idle connection holds next to no memory for answers.
        if self.pieces.capacity() > PIECES_KEPT {
            self.pieces.shrink_to(PIECES_KEPT);
        }
        Poll::Ready(Ok(()))
    }

    /// Hands the kernel what is first, up to a span of a file. Most answers are of one piece, for which it has a shorter
    /// way.
    fn poll_write<T: Transport>(
        &self,
        cx: &mut Context<'_>,
        to: &mut T,
    ) -> Poll<io::Result<usize>> {
        if self.pieces.len() == 1
            && let Some(bytes) = self.pieces[0].here()
        {
            return Pin::new(to).poll_write(cx, &bytes[self.sent..]);
        }
        let mut parts = [IoSlice::new(&[]); IO_SLICES_MAX];
        let (mut count, mut bytes) = (0, 0);
        let mut before_file = false;
        for (part, piece) in parts.iter_mut().zip(&self.pieces) {
            let Some(here) = piece.here() else {
                before_file = true;
                break;
            };
            let skip = if count == 0 { self.sent } else { 0 };
            *part = IoSlice::new(&here[skip..]);
            count += 1;
            bytes += part.len();
            if bytes >= FLUSH_BYTES {
                break;
            }
        }
        match before_file {
            true => to.poll_write_before_file(cx, &parts[..count]),
            false => Pin::new(to).poll_write_vectored(cx, &parts[..count]),
        }
    }

    /// Hands the kernel what is at hand of the file that is first, at most so many bytes.
    fn poll_send<T: Transport>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut T,
        loads: &Work,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(fetching) = &mut self.fetching {
                let fetched = ready!(fetching.as_mut().poll(cx));
                self.fetching = None;
                fetched?;
            }
            let Some(Piece::File(span)) = self.pieces.front() else {
                return Poll::Ready(Ok(0));
            };
            let bytes = span.at_hand(self.sent, bytes_max);
            if bytes > 0 {
                return to.poll_send(cx, span, self.sent, bytes);
            }
            let next = self.sent.saturating_add(FLUSH_BYTES).min(span.bytes());
            let (part, loads) = (span.part(self.sent, next), loads.clone());
            self.fetching = Some(Box::pin(async move {
                let fetched = loads.run(move || part.fetch()).await;
                fetched.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
            }));
        }
    }

    fn consume(&mut self, mut n: usize) {
        self.unsent -= n;
        self.moved = true;
        while n > 0 {
            let left = self.pieces.front().map_or(0, Piece::bytes) - self.sent;
            if n < left {
                self.sent += n;
                return;
            }
            n -= left;
            self.sent = 0;
            self.pieces.pop_front();
        }
        while self.pieces.front().is_some_and(|piece| piece.bytes() == 0) {
            self.pieces.pop_front();
        }
    }
}

/// Goes on once those have had their turn who are ready, and those of whom the system tells that they are.
fn give_way<T>(cx: &mut Context<'_>) -> Poll<T> {
    // Woken here, the task would stand behind those that are ready, and sockets be looked at every sixtieth time only.
    let given = pin!(tokio::task::yield_now()).poll(cx);
    debug_assert!(given.is_pending(), "it waits once");
    Poll::Pending
}
