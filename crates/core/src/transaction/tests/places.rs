//! Which partitions a transaction has: each once, in order, in little memory.

use crate::transaction::command::{Name, Place};
use crate::transaction::record::Places;
use std::collections::BTreeSet;

fn place(topic: &str, partition: i32) -> Place {
    (Name::from(topic), partition)
}

#[test]
fn partitions_stand_once_and_in_order_however_they_were_added() {
    let mut places = Places::default();
    assert!(places.is_empty());
    assert!(places.add([place("b", 3), place("a", 1), place("b", 0), place("b", 3)]));
    assert!(places.add([place("b", 2), place("c", 0), place("a", 1), place("a", -1)]));
    let all = [("a", -1), ("a", 1), ("b", 0), ("b", 2), ("b", 3), ("c", 0)];
    let all = all.map(|(topic, partition)| place(topic, partition));
    assert!(places.iter().eq(all.iter().cloned()));
    assert_eq!(places.len(), all.len());
    assert!(all.iter().all(|it| places.has(it)));
    assert!(!places.has(&place("b", 1)) && !places.has(&place("d", 0)));
    assert!(!places.add(all), "nothing is new");
    assert!(!places.add([]));
}

#[test]
fn added_one_by_one_or_at_once_they_are_the_same() {
    let mut dice = 3_u64;
    let all: Vec<Place> = (0..500)
        .map(|_| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            place(
                ["x", "y", "z"][(dice >> 40) as usize % 3],
                (dice >> 50) as i32 % 100,
            )
        })
        .collect();
    let mut one_by_one = Places::default();
    let mut known = BTreeSet::new();
    for it in &all {
        assert_eq!(one_by_one.add([it.clone()]), known.insert(it.clone()));
    }
    assert!(one_by_one.iter().eq(known));
    assert_eq!(one_by_one, Places::from_iter(all));
}

#[test]
fn a_partition_more_takes_no_more_than_its_number() {
    let mut places = Places::default();
    places.add([place("t", 0)]);
    let one = places.bytes();
    places.add((1..10).map(|at| place("t", at)));
    assert_eq!(places.bytes() - one, 9 * size_of::<i32>());
}
