//! Reading primitives out of a frame whose every byte may be hostile.

use std::borrow::Cow;
use std::fmt;

use super::{Records, Uuid};

/// Memory that the arrays of one message may take, unless the reader is given another budget.
pub const BUDGET_DEFAULT: usize = 16 * 1024 * 1024;

/// Why bytes are not the message they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The frame ends before the message does.
    Truncated,
    /// A length is below -1, or larger than what is left of the frame.
    InvalidLength,
    /// A null where the version allows none.
    UnexpectedNull,
    /// A varint of more than five bytes, or with bits beyond the 32nd.
    InvalidVarint,
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// A tagged field whose size differs from its content's.
    InvalidTag,
    /// The arrays would take more memory than the reader's budget.
    OverBudget,
    /// The message has no such version.
    UnsupportedVersion,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "frame ends before the message does",
            Self::InvalidLength => "length does not fit the frame",
            Self::UnexpectedNull => "null where none is allowed",
            Self::InvalidVarint => "malformed varint",
            Self::InvalidUtf8 => "string is not UTF-8",
            Self::InvalidTag => "tagged field has the wrong size",
            Self::OverBudget => "message needs too much memory",
            Self::UnsupportedVersion => "message has no such version",
        })
    }
}

impl std::error::Error for DecodeError {}

type Result<T> = std::result::Result<T, DecodeError>;

/// A position in a frame, and the memory still allowed for what is decoded from it.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    budget: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte, with `BUDGET_DEFAULT`.
    pub fn new(frame: &'a [u8]) -> Self {
        Self::with_budget(frame, BUDGET_DEFAULT)
    }

    /// Starts at the first byte; arrays may take `budget` bytes of memory in all.
    pub fn with_budget(frame: &'a [u8], budget: usize) -> Self {
        Self {
            rest: frame,
            budget,
        }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes have not been read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte; anything but zero is true, as in Kafka.
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.fixed::<1>()? != [0])
    }

    /// A signed byte.
    pub fn i8(&mut self) -> Result<i8> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// Two bytes, signed.
    pub fn i16(&mut self) -> Result<i16> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self) -> Result<u16> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> Result<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self) -> Result<f64> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid> {
        self.fixed().map(Uuid)
    }

    /// An unsigned varint of at most five bytes and 32 bits.
    pub fn uvarint(&mut self) -> Result<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::InvalidVarint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::InvalidVarint)
    }

    /// A signed length of the old style: -1 is null.
    fn length(&mut self, signed: i32) -> Result<Option<usize>> {
        if signed == -1 {
            return Ok(None);
        }
        let len = usize::try_from(signed).map_err(|_| DecodeError::InvalidLength)?;
        if len > self.rest.len() {
            return Err(DecodeError::InvalidLength);
        }
        Ok(Some(len))
    }

    /// A compact length: zero is null, otherwise one more than the length.
    fn compact_length(&mut self) -> Result<Option<usize>> {
        let Some(len) = self.uvarint()?.checked_sub(1) else {
            return Ok(None);
        };
        let len = usize::try_from(len).map_err(|_| DecodeError::InvalidLength)?;
        if len > self.rest.len() {
            return Err(DecodeError::InvalidLength);
        }
        Ok(Some(len))
    }

    fn long_length(&mut self, flexible: bool) -> Result<Option<usize>> {
        if flexible {
            return self.compact_length();
        }
        let signed = self.i32()?;
        self.length(signed)
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Cow<'a, str>>> {
        let len = if flexible {
            self.compact_length()?
        } else {
            let signed = self.i16()?;
            self.length(i32::from(signed))?
        };
        let Some(len) = len else { return Ok(None) };
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| DecodeError::InvalidUtf8)?;
        Ok(Some(Cow::Borrowed(text)))
    }

    /// A string.
    pub fn string(&mut self, flexible: bool) -> Result<Cow<'a, str>> {
        self.nullable_string(flexible)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Cow<'a, [u8]>>> {
        match self.long_length(flexible)? {
            None => Ok(None),
            Some(len) => self.take(len).map(|bytes| Some(Cow::Borrowed(bytes))),
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, flexible: bool) -> Result<Cow<'a, [u8]>> {
        self.nullable_bytes(flexible)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Record batches or null.
    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<Records<'a>>> {
        Ok(self.nullable_bytes(flexible)?.map(Records::Bytes))
    }

    /// Record batches.
    pub fn records(&mut self, flexible: bool) -> Result<Records<'a>> {
        self.bytes(flexible).map(Records::Bytes)
    }

    /// An array or null. `size_min` is the fewest bytes one element takes in the frame; a length
    /// the rest of the frame cannot hold is refused before anything is allocated.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        size_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(len) = self.long_length(flexible)? else {
            return Ok(None);
        };
        self.charge::<T>(len, size_min)?;
        let mut out = Vec::with_capacity(len);
        for _ in 0..len {
            out.push(element(self)?);
        }
        Ok(Some(out))
    }

    fn charge<T>(&mut self, len: usize, size_min: usize) -> Result<()> {
        if len
            .checked_mul(size_min)
            .is_none_or(|bytes| bytes > self.rest.len())
        {
            return Err(DecodeError::InvalidLength);
        }
        let cost = len
            .checked_mul(size_of::<T>())
            .ok_or(DecodeError::OverBudget)?;
        self.budget = self
            .budget
            .checked_sub(cost)
            .ok_or(DecodeError::OverBudget)?;
        Ok(())
    }

    /// An array.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        size_min: usize,
        element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.nullable_array(flexible, size_min, element)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// A struct behind its presence byte: negative is null.
    pub fn nullable<T>(&mut self, value: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.i8()? < 0 {
            return Ok(None);
        }
        value(self).map(Some)
    }

    /// A struct in a tagged field behind its presence varint: zero is null.
    pub fn nullable_tagged<T>(
        &mut self,
        value: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.uvarint()? == 0 {
            return Ok(None);
        }
        value(self).map(Some)
    }

    /// The tagged fields at a struct's end. `known` decodes the tag or answers false.
    pub fn tags(&mut self, mut known: impl FnMut(&mut Self, u32) -> Result<bool>) -> Result<()> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = usize::try_from(self.uvarint()?).map_err(|_| DecodeError::InvalidTag)?;
            let (content, after) = self
                .rest
                .split_at_checked(size)
                .ok_or(DecodeError::Truncated)?;
            self.rest = content;
            if known(self, tag)? && !self.rest.is_empty() {
                return Err(DecodeError::InvalidTag);
            }
            self.rest = after;
        }
        Ok(())
    }

    /// Tagged fields of a struct that knows none.
    pub fn skip_tags(&mut self) -> Result<()> {
        self.tags(|_, _| Ok(false))
    }
}

/// Refuses a version outside `low..=high`.
pub fn check_version(version: i16, low: i16, high: i16) -> Result<()> {
    if version < low || version > high {
        return Err(DecodeError::UnsupportedVersion);
    }
    Ok(())
}
