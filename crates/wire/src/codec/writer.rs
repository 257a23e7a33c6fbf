//! Writing primitives. Infallible: what a message holds was checked when it was made.

use super::{Records, Uuid};

/// A gap in the written bytes, to be filled with `len` bytes from elsewhere when sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The gap sits before `buf[at]`.
    pub at: usize,
    /// Which of the sender's byte sources fills it.
    pub slot: u32,
    /// How many bytes fill it.
    pub len: u32,
}

/// Bytes being written, and the gaps left for record batches that are sent without copying.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    /// Everything written so far, without the spliced bytes.
    pub buf: Vec<u8>,
    /// Gaps in ascending order of `at`.
    pub splices: Vec<Splice>,
}

/// Kafka's limit for a non-compact string.
const STRING_MAX: usize = i16::MAX as usize;

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            buf: Vec::with_capacity(capacity),
            splices: Vec::new(),
        }
    }

    /// Bytes on the network: those written and those spliced in.
    pub fn total_len(&self) -> usize {
        self.buf.len() + self.splices.iter().map(|s| s.len as usize).sum::<usize>()
    }

    /// Starts a frame: leaves room for its length.
    pub fn begin_frame(&mut self) {
        assert!(
            self.buf.is_empty() && self.splices.is_empty(),
            "one writer, one frame"
        );
        self.i32(0);
    }

    /// Ends the frame started by `begin_frame`: fills in its length, spliced bytes included.
    pub fn end_frame(&mut self) {
        let len = i32_len(self.total_len() - 4);
        self.buf[..4].copy_from_slice(&len.to_be_bytes());
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// One byte.
    pub fn bool(&mut self, value: bool) {
        self.buf.push(u8::from(value));
    }

    /// One byte, signed.
    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes, signed.
    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes, signed.
    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(&value.0);
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buf.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.buf.push(value as u8);
    }

    fn compact_length(&mut self, len: usize) {
        self.uvarint(i32_len(len) as u32 + 1);
    }

    fn long_length(&mut self, len: usize, flexible: bool) {
        if flexible {
            self.compact_length(len);
        } else {
            self.i32(i32_len(len));
        }
    }

    fn long_null(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0);
        } else {
            self.i32(-1);
        }
    }

    /// A string.
    pub fn string(&mut self, value: &str, flexible: bool) {
        if flexible {
            self.compact_length(value.len());
            self.raw(value.as_bytes());
            return;
        }
        // Only our own texts can be longer, such as an error message; cut rather than corrupt.
        let value = &value[..value.floor_char_boundary(STRING_MAX)];
        self.i16(value.len() as i16);
        self.raw(value.as_bytes());
    }

    /// A string or null.
    pub fn nullable_string(&mut self, value: Option<&str>, flexible: bool) {
        match value {
            Some(value) => self.string(value, flexible),
            None if flexible => self.uvarint(0),
            None => self.i16(-1),
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &[u8], flexible: bool) {
        self.long_length(value.len(), flexible);
        self.raw(value);
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, value: Option<&[u8]>, flexible: bool) {
        match value {
            Some(value) => self.bytes(value, flexible),
            None => self.long_null(flexible),
        }
    }

    /// Record batches: copied when held, a splice when they live elsewhere.
    pub fn records(&mut self, value: &Records<'_>, flexible: bool) {
        match value {
            Records::Bytes(bytes) => self.bytes(bytes, flexible),
            Records::Spliced { slot, len } => {
                self.long_length(*len as usize, flexible);
                self.splices.push(Splice {
                    at: self.buf.len(),
                    slot: *slot,
                    len: *len,
                });
            }
        }
    }

    /// Record batches or null.
    pub fn nullable_records(&mut self, value: Option<&Records<'_>>, flexible: bool) {
        match value {
            Some(value) => self.records(value, flexible),
            None => self.long_null(flexible),
        }
    }

    /// An array.
    pub fn array<T>(
        &mut self,
        values: &[T],
        flexible: bool,
        mut element: impl FnMut(&mut Self, &T),
    ) {
        self.long_length(values.len(), flexible);
        for value in values {
            element(self, value);
        }
    }

    /// An array or null.
    pub fn nullable_array<T>(
        &mut self,
        values: Option<&[T]>,
        flexible: bool,
        element: impl FnMut(&mut Self, &T),
    ) {
        match values {
            Some(values) => self.array(values, flexible, element),
            None => self.long_null(flexible),
        }
    }

    /// A struct behind its presence byte.
    pub fn nullable<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        match value {
            Some(value) => {
                self.i8(1);
                write(self, value);
            }
            None => self.i8(-1),
        }
    }

    /// A struct in a tagged field behind its presence varint.
    pub fn nullable_tagged<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        match value {
            Some(value) => {
                self.uvarint(1);
                write(self, value);
            }
            None => self.uvarint(0),
        }
    }

    /// One tagged field: number, size, then what `write` writes. No schema tags records.
    pub fn tag(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        self.uvarint(tag);
        let start = self.buf.len();
        write(self);
        let end = self.buf.len();
        // The size goes in front, but is only known now: append it, then rotate it into place.
        self.uvarint(i32_len(end - start) as u32);
        let size_len = self.buf.len() - end;
        self.buf[start..].rotate_right(size_len);
    }
}

/// A frame is capped far below this; a longer part is our own mistake.
fn i32_len(len: usize) -> i32 {
    i32::try_from(len).expect("no part of a frame exceeds 2 GiB")
}
