//! A map in the order of its keys that takes little while it holds few entries: packed at first, a tree beyond that.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};

/// So many entries are packed. With more of them moving the others aside would take too long.
const PACKED_MAX: usize = 32;

/// See above. Never packed again until it is nearly empty, so that one entry that comes and goes costs nothing.
#[derive(Clone, Debug)]
pub(crate) enum SmallMap<K, V> {
    Packed(Vec<(K, V)>),
    Tree(BTreeMap<K, V>),
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        SmallMap::Packed(Vec::new())
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        match self {
            SmallMap::Packed(entries) => entries.len(),
            SmallMap::Tree(tree) => tree.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the entries lie in, without what they own elsewhere.
    pub(crate) fn bytes(&self) -> usize {
        let entry = size_of::<(K, V)>();
        match self {
            SmallMap::Packed(entries) => entries.capacity() * entry,
            // A tree's nodes are about two thirds full.
            SmallMap::Tree(tree) => tree.len() * (entry + entry / 2),
        }
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            SmallMap::Packed(entries) => {
                let at = place(entries, key).ok()?;
                entries.get(at).map(|(_, value)| value)
            }
            SmallMap::Tree(tree) => tree.get(key),
        }
    }

    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            SmallMap::Packed(entries) => {
                let at = place(entries, key).ok()?;
                entries.get_mut(at).map(|(_, value)| value)
            }
            SmallMap::Tree(tree) => tree.get_mut(key),
        }
    }

    /// The value that was there before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let entries = match self {
            SmallMap::Tree(tree) => return tree.insert(key, value),
            SmallMap::Packed(entries) => entries,
        };
        match place(entries, &key) {
            Ok(at) => {
                let known = entries.get_mut(at)?;
                Some(std::mem::replace(&mut known.1, value))
            }
            Err(at) if entries.len() < PACKED_MAX => {
                if entries.len() == entries.capacity() {
                    entries.reserve_exact(1 + entries.len() / 4);
                }
                entries.insert(at, (key, value));
                None
            }
            Err(_) => {
                let mut tree: BTreeMap<K, V> = std::mem::take(entries).into_iter().collect();
                tree.insert(key, value);
                *self = SmallMap::Tree(tree);
                None
            }
        }
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            SmallMap::Packed(entries) => {
                let at = place(entries, key).ok()?;
                let (_, value) = entries.remove(at);
                Some(value)
            }
            SmallMap::Tree(tree) => {
                let value = tree.remove(key)?;
                if tree.len() <= PACKED_MAX / 4 {
                    *self = SmallMap::Packed(std::mem::take(tree).into_iter().collect());
                }
                Some(value)
            }
        }
    }

    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        match self {
            SmallMap::Packed(entries) => Iter::Packed(entries.iter()),
            SmallMap::Tree(tree) => Iter::Tree(tree.iter()),
        }
    }
}

/// Entries in the order of their keys.
pub(crate) enum Iter<'a, K, V> {
    Packed(std::slice::Iter<'a, (K, V)>),
    Tree(btree_map::Iter<'a, K, V>),
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Packed(entries) => entries.next().map(|(key, value)| (key, value)),
            Iter::Tree(entries) => entries.next(),
        }
    }
}

fn place<K, V, Q>(entries: &[(K, V)], key: &Q) -> Result<usize, usize>
where
    K: Borrow<Q>,
    Q: Ord + ?Sized,
{
    entries.binary_search_by(|(known, _)| known.borrow().cmp(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_a_tree_says_however_many_entries_come_and_go() {
        let (mut small, mut tree) = (SmallMap::default(), BTreeMap::new());
        let mut seed = 1u64;
        for step in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // It fills and empties in turns, so that both forms are left both ways.
            let (key, fills) = ((seed >> 33) as u8 % 64, step / 400 % 2 == 0);
            match (seed >> 41).is_multiple_of(4) {
                one if one == fills => assert_eq!(small.remove(&key), tree.remove(&key)),
                _ => assert_eq!(small.insert(key, step), tree.insert(key, step)),
            }
            assert_eq!(small.get(&key), tree.get(&key));
            assert_eq!(small.get_mut(&key), tree.get_mut(&key));
            assert!(small.iter().eq(tree.iter()), "step {step}");
            assert_eq!(small.len(), tree.len());
        }
    }

    #[test]
    fn a_few_entries_take_little_more_than_they_are() {
        let mut map = SmallMap::default();
        assert_eq!(map.bytes(), 0);
        for key in 0..10u64 {
            map.insert(key, key);
        }
        assert!(map.bytes() <= 12 * 16, "{}", map.bytes());
    }
}
