//! Lines of the log on their way to stderr. Whoever logs hands its line over and goes on at once; a thread of its own
//! writes. Where nobody takes the lines, as in a pipe that is full, the queue fills up and further lines are left out
//! and counted: the log never holds up service.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written take this much at most.
const QUEUE_BYTES_MAX: usize = 256 << 10;
/// So much is written at a time.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// How long the last lines may take at the end of the program.
const LAST_LINES_MS: u64 = 500;

/// Takes lines, never waits.
#[derive(Clone)]
pub struct LogQueue(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Told when a line comes and when lines have been written.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Lines are being written just now.
    writing: bool,
    /// Lines left out since the log last said how many.
    untold: u64,
    /// Lines left out in all.
    dropped: u64,
}

impl LogQueue {
    /// A queue in front of `sink`, and the thread that empties it.
    pub fn start(sink: impl Write + Send + 'static) -> io::Result<LogQueue> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let theirs = shared.clone();
        std::thread::Builder::new()
            .name("rustka-log".to_owned())
            .spawn(move || theirs.write_all_to(sink))?;
        Ok(LogQueue(shared))
    }

    /// Lines that were left out so far.
    pub fn dropped(&self) -> u64 {
        lock(&self.0.queue).dropped
    }

    /// Takes a line, unless too many wait.
    pub fn push(&self, line: &[u8]) {
        let mut queue = lock(&self.0.queue);
        if queue.bytes.saturating_add(line.len()) > QUEUE_BYTES_MAX {
            queue.dropped += 1;
            queue.untold += 1;
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.into());
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Waits until everything is written, but not for long: at the end of the program nobody may be reading.
    pub fn flush(&self) {
        let queue = lock(&self.0.queue);
        let patience = Duration::from_millis(LAST_LINES_MS);
        let is_behind =
            |queue: &mut Queue| queue.writing || queue.untold > 0 || !queue.lines.is_empty();
        // What is left after that is lost with the program.
        let _ended = self
            .0
            .changed
            .wait_timeout_while(queue, patience, is_behind)
            .map(|_| ());
    }
}

/// Lines come from everywhere, under whatever locks: this one is outside of the broker's order.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn write_all_to(&self, mut sink: impl Write) {
        loop {
            let next = self.next();
            // A closed pipe takes no more lines; the broker serves all the same.
            let _closed = sink.write_all(&next).and_then(|()| sink.flush());
            lock(&self.queue).writing = false;
            self.changed.notify_all();
        }
    }

    /// The next lines, once there are any.
    fn next(&self) -> Vec<u8> {
        let queue = lock(&self.queue);
        let is_idle = |queue: &mut Queue| queue.lines.is_empty() && queue.untold == 0;
        let mut queue = self
            .changed
            .wait_while(queue, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        queue.writing = true;
        let mut next = Vec::new();
        while let Some(line) = queue.lines.front()
            && (next.is_empty() || next.len() + line.len() <= WRITE_BYTES_MAX)
        {
            next.extend_from_slice(line);
            queue.bytes -= line.len();
            queue.lines.pop_front();
        }
        // After the lines that were there before: here is where the others would stand.
        if queue.lines.is_empty() && queue.untold > 0 {
            let untold = std::mem::take(&mut queue.untold);
            let sentence = "lines of the log were left out: they came faster than they were read";
            next.extend_from_slice(format!("{untold} {sentence}\n").as_bytes());
        }
        next
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = &'a LogQueue;

    fn make_writer(&'a self) -> &'a LogQueue {
        self
    }
}

/// Each write is one line, as the subscriber formats them.
impl Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing until it is opened.
    #[derive(Clone, Default)]
    struct Gate(Arc<Inside>);

    #[derive(Default)]
    struct Inside {
        open: Mutex<bool>,
        opened: Condvar,
        taken: Mutex<Vec<u8>>,
    }

    impl Gate {
        fn open(&self) {
            *lock(&self.0.open) = true;
            self.0.opened.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(lock(&self.0.taken).clone()).expect("text")
        }
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let open = lock(&self.0.open);
            let _open = self.0.opened.wait_while(open, |open| !*open).expect("open");
            lock(&self.0.taken).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_takes_are_left_out_and_counted_and_told_of_afterwards() {
        let gate = Gate::default();
        let queue = LogQueue::start(gate.clone()).expect("a thread");
        let line = [b'x'; 1023]
            .iter()
            .chain(b"\n")
            .copied()
            .collect::<Vec<u8>>();
        let lines = 2 * QUEUE_BYTES_MAX / line.len();
        for _ in 0..lines {
            queue.push(&line);
        }
        queue.flush();
        let dropped = usize::try_from(queue.dropped()).expect("a few");
        let in_writing = WRITE_BYTES_MAX / line.len();
        let kept = QUEUE_BYTES_MAX / line.len();
        assert!(
            (kept..=kept + in_writing).contains(&(lines - dropped)),
            "{dropped}"
        );
        assert_eq!(gate.text(), "");
        gate.open();
        queue.flush();
        queue.push(b"afterwards\n");
        queue.flush();
        let text = gate.text();
        let told: Vec<&str> = text.lines().skip(lines - dropped).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with(&format!("{dropped} lines of the log were left out")));
        assert_eq!(told[1], "afterwards");
    }

    #[test]
    fn a_line_larger_than_the_queue_is_left_out() {
        let gate = Gate::default();
        gate.open();
        let queue = LogQueue::start(gate.clone()).expect("a thread");
        queue.push(&vec![b'x'; QUEUE_BYTES_MAX + 1]);
        queue.push(b"short\n");
        queue.flush();
        assert_eq!(queue.dropped(), 1);
        assert!(gate.text().contains("short\n"));
    }
}
