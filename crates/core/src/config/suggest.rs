//! The nearest known name, for those who mistyped one.

/// Names longer than this get no suggestion: the distance takes quadratic time.
const NAME_BYTES_MAX: usize = 128;

/// The known name with the fewest edits from this one, if it is near enough to be what was meant.
pub fn nearest_name<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return None;
    }
    let limit = 2 + name.len() / 5;
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in known {
        let limit = best.map_or(limit, |(distance, _)| distance.saturating_sub(1));
        if candidate.len().abs_diff(name.len()) > limit {
            continue;
        }
        let distance = edit_distance(name.as_bytes(), candidate.as_bytes());
        if distance <= limit {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// How many letters of one name have to be changed, added or left out to make it the other. Takes quadratic time.
pub fn distance(a: &str, b: &str) -> usize {
    edit_distance(a.as_bytes(), b.as_bytes())
}

fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_key() {
        let known = || ["retention.ms", "retention.bytes", "segment.ms"].into_iter();
        assert_eq!(nearest_name("retension.ms", known()), Some("retention.ms"));
        assert_eq!(nearest_name("Retention.MS", known()), Some("retention.ms"));
        assert_eq!(nearest_name("completely.else", known()), None);
        assert_eq!(nearest_name(&"x".repeat(5000), known()), None);
    }
}
