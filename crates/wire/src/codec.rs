//! The protocol's primitive types. Decoding trusts nothing; encoding cannot fail.

mod base64;
mod reader;
mod types;
mod writer;

pub use base64::{decode_standard, encode_standard};

pub use reader::{BUDGET_DEFAULT, DecodeError, Reader, check_version};
pub use types::{Records, Uuid, UuidError};
pub use writer::{Splice, Writer};
