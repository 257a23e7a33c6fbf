//! The one place that draws random numbers.

use rustka_wire::codec::Uuid;

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
    bytes
}

/// A random (version 4) id that Kafka would accept: never one of its reserved ids.
pub fn uuid() -> Uuid {
    loop {
        let mut id: [u8; 16] = bytes();
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        let id = Uuid(id);
        // Kafka's own tools choke on an id whose text looks like an option.
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
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
