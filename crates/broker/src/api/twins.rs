//! Things that a request names more than once, for the APIs in which Kafka keeps them in a map.

use std::cmp::Ordering;

/// Up to here comparing all pairs is cheaper than sorting.
const PAIRS_MAX: usize = 8;

/// The items, each once, in the order in which they were first named. `fold` gives to the first of equal items what
/// each later one says.
pub fn fold_twins<T>(
    items: Vec<T>,
    compare: impl Fn(&T, &T) -> Ordering,
    mut fold: impl FnMut(&mut T, T),
) -> Vec<T> {
    let is_pair = |a: &T, b: &T| compare(a, b).is_eq();
    let few = items.len() <= PAIRS_MAX;
    let has_pair = |(i, item): (usize, &T)| items[i + 1..].iter().any(|other| is_pair(item, other));
    if few && !items.iter().enumerate().any(has_pair) {
        return items;
    }
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| compare(&items[*a], &items[*b]));
    // Of each item the first that is equal to it; sorting has kept equal ones in their order.
    let mut firsts = order.clone();
    for equal in order.chunk_by(|a, b| is_pair(&items[*a], &items[*b])) {
        for item in equal {
            firsts[*item] = equal[0];
        }
    }
    let mut folded: Vec<T> = Vec::with_capacity(items.len());
    let mut places = Vec::with_capacity(items.len());
    for (item, first) in items.into_iter().zip(firsts) {
        if first == places.len() {
            places.push(folded.len());
            folded.push(item);
        } else {
            let place = places[first];
            places.push(place);
            fold(&mut folded[place], item);
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_of(items: impl IntoIterator<Item = (u32, char)>) -> Vec<(u32, char)> {
        let items = items.into_iter().collect();
        fold_twins(items, |a, b| a.0.cmp(&b.0), |first, later| *first = later)
    }

    #[test]
    fn what_comes_once_stays_as_it_is() {
        assert_eq!(last_of([]), []);
        assert_eq!(last_of([(2, 'a'), (1, 'b')]), [(2, 'a'), (1, 'b')]);
        let many: Vec<_> = (0..100).rev().map(|number| (number, 'x')).collect();
        assert_eq!(last_of(many.clone()), many);
    }

    #[test]
    fn what_comes_again_stands_in_the_place_of_the_first() {
        let few = [(2, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (2, 'e')];
        assert_eq!(last_of(few), [(2, 'e'), (1, 'b'), (3, 'd')]);
        let many = (0..100).map(|number| (number % 30, if number < 30 { 'x' } else { 'y' }));
        let folded = last_of(many);
        let numbers: Vec<u32> = folded.iter().map(|item| item.0).collect();
        assert_eq!(numbers, (0..30).collect::<Vec<_>>());
        assert!(folded.iter().all(|item| item.1 == 'y'));
    }
}
