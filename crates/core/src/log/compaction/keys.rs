//! The newest offset of each key: a table that compares whole keys, so that no two keys are ever taken for one.

use std::hash::{DefaultHasher, Hasher};

/// No table takes more, whatever it may take.
const BYTES_MAX: usize = 64 << 20;
/// Slots of the first table; a power of two.
const SLOTS_MIN: usize = 64;

struct Entry {
    hash: u32,
    /// Where the key begins in `bytes`.
    at: u32,
    length: u32,
    offset: i64,
}

/// Keys with the newest offset of each.
pub(super) struct Keys {
    /// Chance from outside: whoever chooses the keys must not be able to make them collide.
    seed: u64,
    /// Bytes of keys and entries after which no further batch is learned. What is left waits for the next round.
    bytes_max: usize,
    /// Number of an entry plus one, or 0; searched from the hash on.
    slots: Vec<u32>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Keys {
    pub(super) fn new(seed: u64, bytes_max: usize) -> Keys {
        Keys {
            seed,
            bytes_max: bytes_max.min(BYTES_MAX),
            slots: vec![0; SLOTS_MIN],
            entries: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Whether the keys of a batch with so many bytes of records may still be learned.
    /// A single batch always may, whatever its size, or there would be no progress.
    pub(super) fn has_room(&self, more_bytes: usize) -> bool {
        let entries = self.entries.len().saturating_mul(size_of::<Entry>());
        let used = entries.saturating_add(self.bytes.len());
        used == 0 || used.saturating_add(more_bytes) <= self.bytes_max
    }

    /// Learns that `key` is at `offset`; an older offset is forgotten, a newer one stays.
    pub(super) fn learn(&mut self, key: &[u8], offset: i64) {
        let hash = self.hash(key);
        let slot = match self.find(key, hash) {
            Ok(entry) => {
                if let Some(entry) = self.entries.get_mut(entry) {
                    entry.offset = entry.offset.max(offset);
                }
                return;
            }
            Err(slot) => slot,
        };
        let places = (
            u32::try_from(self.bytes.len()),
            u32::try_from(key.len()),
            u32::try_from(self.entries.len() + 1),
        );
        // Far above `BYTES_MAX` and what one batch can hold. A key that is not learned is only kept too long.
        let (Ok(at), Ok(length), Ok(number)) = places else {
            return;
        };
        self.bytes.extend_from_slice(key);
        self.entries.push(Entry {
            hash,
            at,
            length,
            offset,
        });
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = number;
        }
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        }
    }

    /// The newest offset of `key`, if it was learned.
    pub(super) fn newest(&self, key: &[u8]) -> Option<i64> {
        let entry = self.find(key, self.hash(key)).ok()?;
        Some(self.entries.get(entry)?.offset)
    }

    fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write(key);
        hasher.finish() as u32
    }

    /// The entry of the key, or the free slot where it belongs.
    fn find(&self, key: &[u8], hash: u32) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            // At least half of the slots are free, so the search ends.
            let number = self.slots[slot];
            let Some(index) = (number as usize).checked_sub(1) else {
                return Err(slot);
            };
            let entry = &self.entries[index];
            if entry.hash == hash && self.key(entry) == key {
                return Ok(index);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        let at = entry.at as usize;
        self.bytes
            .get(at..at + entry.length as usize)
            .unwrap_or_default()
    }

    fn grow(&mut self) {
        let mut slots = vec![0u32; self.slots.len() * 2];
        let mask = slots.len() - 1;
        for (number, entry) in (1..).zip(&self.entries) {
            let mut slot = entry.hash as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = number;
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_offset_of_each_key_is_known() {
        let mut keys = Keys::new(7, BYTES_MAX);
        for offset in 0..30_000i64 {
            keys.learn(&(offset % 10_000).to_be_bytes(), offset);
        }
        keys.learn(&5i64.to_be_bytes(), 3);
        for key in 0..10_000i64 {
            assert_eq!(keys.newest(&key.to_be_bytes()), Some(20_000 + key));
        }
        assert_eq!(keys.newest(b""), None);
        assert_eq!(keys.newest(&10_000i64.to_be_bytes()), None);
        keys.learn(b"", 1);
        assert_eq!(keys.newest(b""), Some(1));
    }

    #[test]
    fn memory_is_bounded_but_one_batch_always_fits() {
        let mut keys = Keys::new(0, BYTES_MAX);
        assert!(keys.has_room(BYTES_MAX * 2));
        keys.learn(b"key", 0);
        assert!(keys.has_room(1000));
        assert!(!keys.has_room(BYTES_MAX));
        let mut small = Keys::new(0, 100);
        assert!(small.has_room(1000));
        small.learn(b"key", 0);
        assert!(small.has_room(50));
        assert!(!small.has_room(100));
    }
}
