//! Bytes in, frames out. Believes no length: memory grows with what has arrived, never with what is announced.

use std::io::{self, Read};

use crate::error::Reason;
use crate::frame::Frame;

/// The longest answer that is taken unless the caller says otherwise; consumers ask for at most 50 MiB, and a broker may send
/// one batch more.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Room for what comes next while nothing is known of it.
const READ_BYTES: usize = 4096;
/// The length in front of a frame.
const LENGTH_BYTES: usize = 4;

/// What has arrived and was not taken yet.
#[derive(Debug)]
pub struct Incoming {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    frame_bytes_max: usize,
}

impl Default for Incoming {
    fn default() -> Self {
        Incoming::new(ANSWER_BYTES_MAX)
    }
}

impl Incoming {
    /// Nothing yet, and no frame longer than this.
    pub fn new(frame_bytes_max: usize) -> Incoming {
        Incoming {
            bytes: Vec::new(),
            from: 0,
            to: 0,
            frame_bytes_max,
        }
    }

    /// How many bytes wait to be taken.
    pub fn buffered(&self) -> usize {
        self.to - self.from
    }

    /// Where the next bytes go: never empty, and not past the end of a frame that has begun. To be called when
    /// [`Incoming::take`] has nothing more.
    pub fn room(&mut self) -> &mut [u8] {
        if self.from > 0 {
            self.bytes.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        let missing = match self.announced() {
            Ok(Some(length)) => (LENGTH_BYTES + length).saturating_sub(self.to),
            _ => READ_BYTES.saturating_sub(self.to),
        };
        let end = self.to + missing.clamp(1, self.to.max(READ_BYTES));
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.to..end]
    }

    /// Says that so many bytes of the room have been filled.
    pub fn filled(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes.len() - self.to, "no more than the room");
        self.to += bytes;
    }

    /// Reads once; how many bytes came, 0 for a hang-up.
    pub fn read(&mut self, from: &mut impl Read) -> io::Result<usize> {
        let bytes = from.read(self.room())?;
        self.filled(bytes);
        Ok(bytes)
    }

    /// The next frame, once all of it is here.
    pub fn take(&mut self) -> Result<Option<Frame>, Reason> {
        let Some(length) = self.announced()? else {
            return Ok(None);
        };
        let begin = self.from + LENGTH_BYTES;
        let end = begin + length;
        if self.to < end {
            return Ok(None);
        }
        // A long frame that is alone in the buffer becomes its owner instead of being copied.
        if length >= READ_BYTES && self.to == end {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.truncate(end);
            (self.from, self.to) = (0, 0);
            return Ok(Some(Frame::new(bytes, begin)));
        }
        let frame = Frame::new(self.bytes[begin..end].to_vec(), 0);
        self.from = end;
        Ok(Some(frame))
    }

    /// The length of the frame that has begun, checked.
    fn announced(&self) -> Result<Option<usize>, Reason> {
        let Some(length) = self.bytes[self.from..self.to].first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        length_of(*length, self.frame_bytes_max).map(Some)
    }
}

/// The length in front of a frame, if it can be one.
pub fn length_of(bytes: [u8; LENGTH_BYTES], bytes_max: usize) -> Result<usize, Reason> {
    let looks_like = match bytes {
        [b'H', b'T', b'T', b'P'] => Some("an HTTP server"),
        // A record of TLS: an alert or a handshake.
        [0x15 | 0x16, 3, _, _] => Some("a TLS listener"),
        _ => None,
    };
    if let Some(looks_like) = looks_like {
        return Err(Reason::NotKafka { looks_like });
    }
    match usize::try_from(i32::from_be_bytes(bytes)) {
        Ok(length) if length <= bytes_max => Ok(length),
        Ok(bytes) => Err(Reason::TooLong { bytes, bytes_max }),
        Err(_) => Err(Reason::NotKafka {
            looks_like: "something that sends negative lengths",
        }),
    }
}

/// Reads the next frame from a stream that blocks into `into`, whose length only ever grows, so that it can be used again
/// without being cleared; how long the frame is.
pub fn read_frame(from: &mut impl Read, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
    let mut length = [0; LENGTH_BYTES];
    from.read_exact(&mut length)?;
    let length =
        length_of(length, bytes_max).map_err(|reason| io::Error::other(reason.to_string()))?;
    let mut have = 0;
    while have < length {
        if into.len() == have {
            into.resize(length.min(have + have.max(READ_BYTES)), 0);
        }
        let to = length.min(into.len());
        from.read_exact(&mut into[have..to])?;
        have = to;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in parts of `step`; all frames, and the most memory that was taken meanwhile.
    fn feed(incoming: &mut Incoming, bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut frames, mut most) = (Vec::new(), 0);
        for mut part in bytes.chunks(step) {
            while !part.is_empty() {
                incoming.read(&mut part).unwrap();
                most = most.max(incoming.bytes.capacity());
                while let Some(frame) = incoming.take().unwrap() {
                    frames.push(frame.bytes().to_vec());
                }
            }
        }
        (frames, most)
    }

    fn framed(bytes: usize) -> Vec<u8> {
        let mut out = (bytes as u32).to_be_bytes().to_vec();
        out.extend((0..bytes).map(|i| i as u8));
        out
    }

    #[test]
    fn frames_are_the_same_however_their_bytes_are_cut() {
        let sizes = [0, 1, 5000, 3, 20_000, 4092, 4096, 7];
        let all: Vec<u8> = sizes.into_iter().flat_map(framed).collect();
        let whole: Vec<Vec<u8>> = sizes.map(|size| framed(size)[4..].to_vec()).into();
        for step in [1, 2, 3, 7, 1000, 4096, 5000, all.len()] {
            let mut incoming = Incoming::default();
            assert_eq!(
                feed(&mut incoming, &all, step).0,
                whole,
                "in steps of {step}"
            );
            assert_eq!(incoming.buffered(), 0);
        }
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        let mut incoming = Incoming::default();
        let announced = (100u32 << 20).to_be_bytes();
        let (frames, most) = feed(&mut incoming, &[&announced[..], &[0; 100]].concat(), 10);
        assert!(frames.is_empty());
        assert!(most <= 2 * READ_BYTES, "{most} bytes");
        let mut into = Vec::new();
        let mut stream = &[&announced[..], &[0; 100]].concat()[..];
        let cut = read_frame(&mut stream, &mut into, ANSWER_BYTES_MAX).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        assert!(into.capacity() <= READ_BYTES, "{} bytes", into.capacity());
    }

    #[test]
    fn what_is_no_kafka_is_told_by_name() {
        let told = |bytes: &[u8; 4]| length_of(*bytes, 1000).unwrap_err().to_string();
        assert!(told(b"HTTP").contains("HTTP server"));
        assert!(told(&[0x15, 3, 3, 0]).contains("TLS"));
        assert!(told(&[0xff, 0, 0, 0]).contains("no Kafka listener"));
        assert!(told(&[0, 0, 4, 0]).contains("1024 bytes is more than the 1000"));
    }

    #[test]
    fn a_reused_buffer_is_read_into_in_one_go() {
        let all = [framed(10_000), framed(9_000)].concat();
        let (mut stream, mut into) = (&all[..], Vec::new());
        for bytes in [10_000, 9_000] {
            let length = read_frame(&mut stream, &mut into, ANSWER_BYTES_MAX).unwrap();
            assert_eq!(into[..length], framed(bytes)[4..]);
        }
        assert_eq!(into.len(), 10_000);
    }
}
