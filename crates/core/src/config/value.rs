//! What a config's value may be.

use std::collections::BTreeSet;

use super::shorten;
use super::skips::Skip;
use super::table::{ConfigKey, ConfigType};
use crate::error::{ErrorCode, Refusal};

/// The value as it is stored and shown, or INVALID_CONFIG with a sentence that says what would be valid.
pub fn check_value(key: &ConfigKey, value: &str) -> Result<Box<str>, Refusal> {
    let trimmed = value.trim();
    let refuse = |expected: String| {
        let shown = match key.is_sensitive() {
            true => "[hidden]".to_owned(),
            false => shorten(value),
        };
        Refusal::new(
            ErrorCode::InvalidConfig,
            format!(
                "Invalid value '{shown}' for config '{}': expected {expected}.",
                key.name
            ),
        )
    };
    match key.kind {
        ConfigType::Boolean => {
            if trimmed.eq_ignore_ascii_case("true") {
                Ok("true".into())
            } else if trimmed.eq_ignore_ascii_case("false") {
                Ok("false".into())
            } else {
                Err(refuse("true or false".to_owned()))
            }
        }
        ConfigType::Int | ConfigType::Short | ConfigType::Long => {
            let (least, greatest) = integer_bounds(key.kind);
            match trimmed.parse::<i64>() {
                Ok(number) if (least..=greatest).contains(&number) => {
                    match integer_is_valid(key.valid, number) {
                        true => Ok(number.to_string().into()),
                        false => Err(refuse(expected(key))),
                    }
                }
                _ => Err(refuse(expected(key))),
            }
        }
        ConfigType::Double => match trimmed.parse::<f64>() {
            Ok(number) if double_is_valid(key.valid, number) => {
                Ok(format!("{number:?}").replace('e', "E").into())
            }
            _ => Err(refuse(expected(key))),
        },
        ConfigType::List => {
            let items = distinct(split_list(trimmed));
            match list_is_valid(key.valid, &items) {
                true => Ok(items.join(",").into()),
                false => Err(refuse(expected(key))),
            }
        }
        ConfigType::String => match text_is_valid(key.valid, trimmed) {
            true => Ok(trimmed.into()),
            false => Err(refuse(expected(key))),
        },
        ConfigType::Class => Ok(trimmed.into()),
        ConfigType::Password => Ok(value.into()),
    }
}

/// The items of a LIST value.
pub(super) fn split_list(value: &str) -> Vec<&str> {
    match value.trim() {
        "" => Vec::new(),
        list => list.split(',').map(str::trim).collect(),
    }
}

/// Each item once, at its first place, as Kafka keeps lists.
fn distinct(items: Vec<&str>) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    items
        .into_iter()
        .filter(|item| seen.insert(*item))
        .collect()
}

/// What is valid, in words: ends the sentence of a refusal.
fn expected(key: &ConfigKey) -> String {
    let kind = match key.kind {
        ConfigType::Int => "an integer of 32 bits",
        ConfigType::Short => "an integer of 16 bits",
        ConfigType::Long => "an integer of 64 bits",
        ConfigType::Double => "a number",
        ConfigType::List => "a list",
        _ => "a string",
    };
    if let Some((least, greatest)) = range(key.valid) {
        let or = match key.valid.ends_with("or -1") {
            true => ", or -1",
            false => "",
        };
        return match greatest {
            Some(greatest) => format!("{kind} from {least} to {greatest}{or}"),
            None => format!("{kind} of at least {least}{or}"),
        };
    }
    if let Some(choices) = choices(key.valid) {
        let some = match key.kind {
            ConfigType::List => "a list of items among",
            _ => "one of",
        };
        return format!("{some} {}", choices.join(", "));
    }
    match key.valid {
        "" => kind.to_owned(),
        "non-empty list" => "a list with at least one item".to_owned(),
        "non-null string" | "non-empty string" => "a string that is not empty".to_owned(),
        valid => format!("{kind} of the form {valid}"),
    }
}

fn integer_bounds(kind: ConfigType) -> (i64, i64) {
    match kind {
        ConfigType::Int => (i32::MIN.into(), i32::MAX.into()),
        ConfigType::Short => (i16::MIN.into(), i16::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

/// The ends of `[a,...]`, `[a,...,b]` and `[a,...,b] or -1`.
fn range(valid: &str) -> Option<(&str, Option<&str>)> {
    let inner = valid.strip_prefix('[')?;
    let inner = &inner[..inner.find(']')?];
    let (least, rest) = inner.split_once(",...")?;
    match rest {
        "" => Some((least, None)),
        greatest => Some((least, Some(greatest.strip_prefix(',')?))),
    }
}

/// The items of `[a, b]` and `(case insensitive) [A, B]`.
fn choices(valid: &str) -> Option<Vec<&str>> {
    let list = valid.strip_prefix("(case insensitive) ").unwrap_or(valid);
    let inner = list.strip_prefix('[')?.strip_suffix(']')?;
    if inner.contains("...") || inner.contains("]:[") {
        return None;
    }
    Some(inner.split(", ").collect())
}

fn integer_is_valid(valid: &str, number: i64) -> bool {
    let Some((least, greatest)) = range(valid) else {
        return true;
    };
    if valid.ends_with("or -1") && number == -1 {
        return true;
    }
    let at_least = least.parse().is_ok_and(|least: i64| number >= least);
    let at_most = match greatest {
        Some(greatest) => greatest
            .parse()
            .is_ok_and(|greatest: i64| number <= greatest),
        None => true,
    };
    at_least && at_most
}

fn double_is_valid(valid: &str, number: f64) -> bool {
    let Some((least, greatest)) = range(valid) else {
        return !number.is_nan();
    };
    let at_least = least.parse().is_ok_and(|least: f64| number >= least);
    let at_most = match greatest {
        Some(greatest) => greatest
            .parse()
            .is_ok_and(|greatest: f64| number <= greatest),
        None => true,
    };
    at_least && at_most
}

fn list_is_valid(valid: &str, items: &[&str]) -> bool {
    if valid.starts_with("[partitionId]") {
        return throttled_replicas_are_valid(items);
    }
    if valid.starts_with("partition:first-last") {
        return items.iter().all(|item| Skip::parse(item).is_some());
    }
    if valid == "non-empty list" {
        return !items.is_empty();
    }
    match choices(valid) {
        Some(choices) => items.iter().all(|item| choices.contains(item)),
        None => true,
    }
}

/// Either `*`, or pairs of partition and broker.
fn throttled_replicas_are_valid(items: &[&str]) -> bool {
    let is_pair = |item: &&str| {
        item.split_once(':').is_some_and(|(partition, broker)| {
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            is_number(partition) && is_number(broker)
        })
    };
    items == ["*"] || items.iter().all(is_pair)
}

fn text_is_valid(valid: &str, text: &str) -> bool {
    match valid {
        "" | "non-null string" => true,
        "non-empty string" => !text.is_empty(),
        _ if valid.contains("by_duration:") => {
            matches!(text, "latest" | "earliest")
                || text
                    .strip_prefix("by_duration:")
                    .is_some_and(is_positive_duration)
        }
        _ => match choices(valid) {
            Some(choices) if valid.starts_with("(case insensitive)") => choices
                .iter()
                .any(|choice| choice.eq_ignore_ascii_case(text)),
            Some(choices) => choices.contains(&text),
            None => true,
        },
    }
}

/// ISO 8601 as far as days: `PnDTnHnMn.nS`, at least one part.
fn is_positive_duration(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let Some(rest) = upper.strip_prefix('P') else {
        return false;
    };
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return false,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return false;
    }
    let take = |text: &str, units: &[char]| {
        let mut left = units.iter();
        let mut number = String::new();
        for c in text.chars() {
            if c.is_ascii_digit() || c == '.' {
                number.push(c);
            } else {
                let known = left.any(|unit| *unit == c);
                let fits = number.parse::<f64>().is_ok() && (c == 'S' || !number.contains('.'));
                if !known || !fits {
                    return false;
                }
                number.clear();
            }
        }
        number.is_empty()
    };
    take(days, &['D']) && take(time, &['H', 'M', 'S'])
}

#[cfg(test)]
mod tests {
    use super::super::table::{Scope, find_key};
    use super::*;

    fn topic(name: &str, value: &str) -> Result<Box<str>, String> {
        check_value(find_key(Scope::Topic, name).unwrap(), value)
            .map_err(|refusal| refusal.message.unwrap().into_owned())
    }

    #[test]
    fn numbers_stay_in_their_range() {
        assert_eq!(topic("retention.ms", " -1 ").as_deref(), Ok("-1"));
        assert!(topic("retention.ms", "-2").is_err());
        assert!(topic("retention.ms", "9223372036854775808").is_err());
        assert!(topic("max.message.bytes", "2147483648").is_err());
        assert_eq!(
            topic("segment.bytes", "12").unwrap_err(),
            "Invalid value '12' for config 'segment.bytes': expected an integer of 32 bits of at least 1048576."
        );
        assert_eq!(
            topic("min.cleanable.dirty.ratio", "0.50").as_deref(),
            Ok("0.5")
        );
        assert!(topic("min.cleanable.dirty.ratio", "1.1").is_err());
        assert!(topic("min.cleanable.dirty.ratio", "NaN").is_err());
        assert_eq!(topic("compression.gzip.level", "-1").as_deref(), Ok("-1"));
        assert!(topic("compression.gzip.level", "0").is_err());
    }

    #[test]
    fn words_and_lists_are_checked() {
        assert_eq!(
            topic("cleanup.policy", "compact , delete").as_deref(),
            Ok("compact,delete")
        );
        assert_eq!(
            topic("cleanup.policy", "compact,compact").as_deref(),
            Ok("compact")
        );
        assert_eq!(topic("cleanup.policy", "").as_deref(), Ok(""));
        assert!(topic("cleanup.policy", "shred").is_err());
        assert!(topic("message.timestamp.type", "createtime").is_err());
        assert_eq!(topic("preallocate", "TRUE").as_deref(), Ok("true"));
        assert!(topic("preallocate", "yes").is_err());
        let replicas = "leader.replication.throttled.replicas";
        assert!(topic(replicas, "0:1,1:1").is_ok());
        assert!(topic(replicas, "*").is_ok());
        assert!(topic(replicas, "0").is_err());
    }

    #[test]
    fn durations_of_share_groups_are_checked() {
        let key = find_key(Scope::Group, "share.auto.offset.reset").unwrap();
        for good in [
            "latest",
            "earliest",
            "by_duration:PT1H30M",
            "by_duration:P2DT0.5S",
        ] {
            assert!(check_value(key, good).is_ok(), "{good}");
        }
        for bad in [
            "soon",
            "by_duration:",
            "by_duration:P",
            "by_duration:1H",
            "by_duration:PT",
        ] {
            assert!(check_value(key, bad).is_err(), "{bad}");
        }
    }
}
