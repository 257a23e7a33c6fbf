//! The one place that draws random numbers.

use rustka_core::names::is_reserved_id;
use rustka_wire::codec::Uuid;

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
    bytes
}

/// A random (version 4) id that Kafka would accept: never one of its reserved ids.
pub fn uuid() -> Uuid {
    loop {
        if let Some(id) = acceptable(bytes()) {
            return id;
        }
    }
}

/// As many ids, at the price of little more than one.
pub fn uuids(count: usize) -> Vec<Uuid> {
    let mut drawn = vec![0; 16 * count];
    getrandom::fill(&mut drawn).expect("the operating system provides random numbers");
    let (ids, _) = drawn.as_chunks::<16>();
    let id = |id: &[u8; 16]| acceptable(*id).unwrap_or_else(uuid);
    ids.iter().map(id).collect()
}

fn acceptable(mut id: [u8; 16]) -> Option<Uuid> {
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    // Kafka's own tools choke on an id whose text looks like an option.
    Some(Uuid(id)).filter(|id| !is_reserved_id(*id))
}

/// Text that nobody can guess, of letters and digits.
pub fn nonce() -> String {
    let bytes: [u8; 20] = bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes to be mixed into a password.
pub fn salt() -> [u8; 16] {
    bytes()
}

/// A random number.
pub fn u32() -> u32 {
    u32::from_be_bytes(bytes())
}
