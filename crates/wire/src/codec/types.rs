//! Values that the protocol has and Rust has not.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::base64;

/// Kafka's 128-bit id, shown as 22 letters of url-safe base64.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The id that means "none".
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is the id that means "none".
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::encode_url_safe(&self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 16 bytes of url-safe base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UuidError;

impl fmt::Display for UuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a Kafka uuid")
    }
}

impl std::error::Error for UuidError {}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        // 22 letters make 16 bytes; refuse longer text before decoding it.
        if text.len() > 24 {
            return Err(UuidError);
        }
        let bytes = base64::decode_url_safe(text).ok_or(UuidError)?;
        bytes.try_into().map(Self).map_err(|_| UuidError)
    }
}

/// Record batches: the bytes themselves, or a promise of bytes sent from elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub enum Records<'a> {
    /// The bytes, borrowed from a frame or owned.
    Bytes(Cow<'a, [u8]>),
    /// `len` bytes that the sender takes from its source `slot`; only ever encoded.
    Spliced {
        /// Which source.
        slot: u32,
        /// How many bytes.
        len: u32,
    },
}

impl Records<'_> {
    /// The bytes held; empty for a splice.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Spliced { .. } => &[],
        }
    }

    /// How many bytes go on the network.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Spliced { len, .. } => *len as usize,
        }
    }

    /// Whether no bytes go on the network.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same records, borrowing nothing.
    pub fn into_owned(self) -> Records<'static> {
        match self {
            Self::Bytes(bytes) => Records::Bytes(Cow::Owned(bytes.into_owned())),
            Self::Spliced { slot, len } => Records::Spliced { slot, len },
        }
    }
}

impl Default for Records<'_> {
    fn default() -> Self {
        Self::Bytes(Cow::Borrowed(&[]))
    }
}

impl<'a> From<&'a [u8]> for Records<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Records<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Records({} bytes)", bytes.len()),
            Self::Spliced { slot, len } => write!(f, "Records({len} bytes from slot {slot})"),
        }
    }
}
