//! Spans of files on their way to a socket, where what is at hand changes meanwhile.

use super::{Out, SEND_BYTES, SEND_BYTES_MIN};
use crate::api::reply::Reply;
use crate::base::turns::Turns;
use crate::base::work::Work;
use rustka_core::sync::lock;
use rustka_storage::cold::{FileSpan, Piece, SpanFile};
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// A file of which the system drops all that was sent, and has nothing at hand at first.
struct Forgetful {
    bytes: Vec<u8>,
    /// What is at hand.
    here: Mutex<std::ops::Range<usize>>,
    fetched: AtomicUsize,
    /// From here on it cannot be read.
    bad_from: usize,
}

impl SpanFile for Forgetful {
    fn at_hand(&self, at: u64, bytes: usize) -> usize {
        let here = lock(&self.here).clone();
        match here.contains(&(at as usize)) {
            true => bytes.min(here.end - at as usize),
            false => 0,
        }
    }

    fn fetch(&self, at: u64, bytes: usize) -> io::Result<()> {
        self.fetched.fetch_add(1, Relaxed);
        let end = at as usize + bytes;
        if end > self.bad_from {
            return Err(io::Error::other("it cannot be read"));
        }
        *lock(&self.here) = at as usize..end;
        Ok(())
    }

    fn send(&self, socket: BorrowedFd<'_>, at: u64, bytes: usize) -> io::Result<usize> {
        let at = at as usize;
        assert!(bytes <= self.at_hand(at as u64, bytes), "it would wait");
        let end = self.bytes.len().min(at + bytes);
        let sent = SockRef::from(&socket).send(&self.bytes[at..end])?;
        *lock(&self.here) = 0..0;
        Ok(sent)
    }
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let near = TcpStream::connect(listener.local_addr().expect("bound"));
    let (near, far) = tokio::join!(near, listener.accept());
    (near.expect("connected"), far.expect("connected").0)
}

fn file(bytes: usize, bad_from: usize) -> Arc<Forgetful> {
    Arc::new(Forgetful {
        bytes: (0..bytes).map(|at| (at / 3) as u8).collect(),
        here: Mutex::new(0..0),
        fetched: AtomicUsize::new(0),
        bad_from,
    })
}

/// An answer with a span between its bytes.
fn reply(file: &Arc<Forgetful>, bytes: usize) -> Reply {
    Reply {
        bytes: b"headtail".to_vec(),
        pieces: vec![(4, Piece::File(FileSpan::new(file.clone(), 0, bytes)))],
        ..Reply::default()
    }
}

#[tokio::test]
async fn what_is_no_longer_at_hand_is_brought_again_and_sent_in_its_place() {
    const BYTES: usize = 6 << 20;
    let file = file(BYTES, usize::MAX);
    let (mut near, mut far) = sockets().await;
    let (mut out, loads, turns) = (Out::default(), Work::new(1), Turns::default());
    out.push(reply(&file, BYTES));
    assert_eq!(out.unsent(), BYTES + 8);
    let mut read = Vec::new();
    let sending = poll_fn(|cx| out.poll_flush(cx, &mut near, &loads, &turns));
    let reading = async {
        let mut some = vec![0; 100_000];
        while read.len() < BYTES + 8 {
            let n = far.read(&mut some).await.expect("more");
            assert!(n > 0, "all of it is sent");
            read.extend_from_slice(&some[..n]);
        }
    };
    let (sent, ()) = tokio::join!(sending, reading);
    sent.expect("sent");
    let whole = [b"head", &file.bytes[..], b"tail"].concat();
    assert!(read == whole, "the bytes are in their order");
    assert!(file.fetched.load(Relaxed) > 5);
    assert!(out.is_empty() && out.unsent() == 0);
}

#[tokio::test]
async fn what_can_no_longer_be_read_ends_the_connection() {
    let file = file(20_000, 10_000);
    let (mut near, _far) = sockets().await;
    let (mut out, loads, turns) = (Out::default(), Work::new(1), Turns::default());
    out.push(reply(&file, 20_000));
    let sent = poll_fn(|cx| out.poll_flush(cx, &mut near, &loads, &turns)).await;
    assert_eq!(
        sent.map_err(|error| error.to_string()),
        Err("it cannot be read".to_owned())
    );
}

#[tokio::test]
async fn a_file_that_ends_early_ends_the_connection() {
    let file = file(1_000, usize::MAX);
    let (mut near, _far) = sockets().await;
    let (mut out, loads, turns) = (Out::default(), Work::new(1), Turns::default());
    out.push(reply(&file, 2_000));
    let sent = poll_fn(|cx| out.poll_flush(cx, &mut near, &loads, &turns)).await;
    assert_eq!(
        sent.map_err(|error| error.kind()),
        Err(io::ErrorKind::UnexpectedEof)
    );
}

/// A fault that cuts an answer cuts it in a span as well.
#[tokio::test]
async fn an_answer_is_cut_wherever_it_is_told_to_be() {
    let file = file(100, usize::MAX);
    let whole = [b"head", &file.bytes[..], b"tail"].concat();
    for bytes in [1, 3, 4, 5, 103, 104, 106, 108, 200] {
        let (mut near, mut far) = sockets().await;
        let (mut out, loads, turns) = (Out::default(), Work::new(1), Turns::default());
        out.push(reply(&file, 100).cut(bytes));
        let sent = poll_fn(|cx| out.poll_flush(cx, &mut near, &loads, &turns)).await;
        sent.expect("sent");
        drop(near);
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.expect("read");
        assert!(read == whole[..bytes.min(108)], "{bytes}");
    }
}

/// A file that is at hand and goes nowhere, and how much was sent of it at once.
#[derive(Default)]
struct Endless {
    sent: Mutex<Vec<usize>>,
}

impl SpanFile for Endless {
    fn at_hand(&self, _at: u64, bytes: usize) -> usize {
        bytes
    }

    fn fetch(&self, _at: u64, _bytes: usize) -> io::Result<()> {
        Ok(())
    }

    fn send(&self, _socket: BorrowedFd<'_>, _at: u64, bytes: usize) -> io::Result<usize> {
        lock(&self.sent).push(bytes);
        Ok(bytes)
    }
}

#[tokio::test]
async fn who_sends_files_alone_sends_more_at_once_than_one_of_many() {
    let turns = Turns::default();
    for (others, at_once) in [(0, SEND_BYTES), (7, SEND_BYTES_MIN)] {
        let file = Arc::new(Endless::default());
        let (mut near, _far) = sockets().await;
        let (mut out, loads) = (Out::default(), Work::new(1));
        let others: Vec<_> = (0..others).map(|_| turns.take()).collect();
        out.push(Reply {
            pieces: vec![(
                0,
                Piece::File(FileSpan::new(file.clone(), 0, 2 * SEND_BYTES)),
            )],
            ..Reply::default()
        });
        let sent = poll_fn(|cx| out.poll_flush(cx, &mut near, &loads, &turns)).await;
        sent.expect("sent");
        let sent = lock(&file.sent).clone();
        assert_eq!(sent, vec![at_once; 2 * SEND_BYTES / at_once]);
        drop(others);
        assert_eq!(
            turns.share(SEND_BYTES, 0),
            SEND_BYTES,
            "nobody sends any more"
        );
    }
}
