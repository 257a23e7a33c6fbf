//! AlterClientQuotas: what may be set, and what for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Name, Part, QuotaEntity, QuotaKey, Quotas};
use crate::error::{ErrorCode, Refusal};

/// A number this close to a whole one is taken for it.
const WHOLE: f64 = 1e-6;
/// The largest whole number of bytes; no double lies between it and the first one that is too large.
const LONG_MAX: f64 = i64::MAX as f64;
/// Bytes of the name of one part.
const NAME_BYTES_MAX: usize = 16 << 10;

/// The parts of an entity as a request has them, by what they are called; of two with one name the last counts.
pub type RawEntity = BTreeMap<Box<str>, Option<Box<str>>>;

/// One entity's wish.
#[derive(Clone, Debug)]
pub struct QuotaWish {
    /// Whose quotas.
    pub entity: RawEntity,
    /// Keys with what is to be set; without a value the key goes.
    pub changes: Vec<(Box<str>, Option<f64>)>,
}

/// One change that was decided on.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaChange {
    /// Whose.
    pub entity: QuotaEntity,
    /// What is limited.
    pub key: QuotaKey,
    /// To how much, or no longer.
    pub value: Option<f64>,
}

/// What became of an entity that a request names.
pub type QuotaOutcome = (RawEntity, Result<(), Refusal>);

/// Decides on the wishes of one request: each entity whole or not at all, told once and in the order in which they come.
/// As in Kafka a second wish about an entity spoils the answer, although the first is done.
pub fn decide(quotas: &Quotas, wishes: &[QuotaWish]) -> (Vec<QuotaChange>, Vec<QuotaOutcome>) {
    let mut places: BTreeMap<&RawEntity, usize> = BTreeMap::new();
    let mut changes = Vec::new();
    let mut outcomes: Vec<QuotaOutcome> = Vec::new();
    for wish in wishes {
        if let Some(place) = places.get(&wish.entity) {
            outcomes[*place].1 = Err(twice(&wish.entity));
            continue;
        }
        places.insert(&wish.entity, outcomes.len());
        let outcome = decide_one(quotas, wish).map(|decided| changes.extend(decided));
        outcomes.push((wish.entity.clone(), outcome));
    }
    (changes, outcomes)
}

fn decide_one(quotas: &Quotas, wish: &QuotaWish) -> Result<Vec<QuotaChange>, Refusal> {
    let mut keys: Vec<&str> = wish.changes.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(twice(&wish.entity));
    }
    let entity = checked(&wish.entity)?;
    let mut changes = Vec::new();
    for (name, value) in &wish.changes {
        let key = QuotaKey::named(name).filter(|key| fits(*key, &entity));
        let key = match (key, value) {
            (Some(key), _) => key,
            // What cannot be set is not set, so there is nothing to take away.
            (None, None) => continue,
            (None, Some(_)) => return Err(wrong(format!("Invalid configuration key {name}"))),
        };
        if let Some(value) = value {
            check_value(key, *value)?;
        }
        if quotas.get(&entity, key) != *value {
            changes.push(QuotaChange {
                entity: entity.clone(),
                key,
                value: *value,
            });
        }
    }
    Ok(changes)
}

fn wrong(why: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, why.into())
}

fn twice(entity: &RawEntity) -> Refusal {
    let parts = entity.iter().map(|(part, name)| {
        let name = name.as_deref().unwrap_or("<default>");
        format!("{part}={name}")
    });
    let parts: Vec<_> = parts.collect();
    wrong(format!(
        "The entity {}, or a key of it, comes more than once",
        parts.join(", ")
    ))
}

/// The entity that these parts are.
fn checked(raw: &RawEntity) -> Result<QuotaEntity, Refusal> {
    if raw.is_empty() {
        return Err(wrong("Invalid empty client quota entity"));
    }
    let parts = raw.iter().map(|(part, name)| {
        let known = Part::named(part)
            .ok_or_else(|| wrong(format!("Unhandled client quota entity type: {part}")))?;
        match name.as_deref() {
            Some("") => Err(wrong(format!("Empty {part} not supported"))),
            Some(name) if name.len() > NAME_BYTES_MAX => {
                Err(wrong(format!("the name of the {part} is too long")))
            }
            name => Ok((known, Name::of(name))),
        }
    });
    let parts = parts.collect::<Result<Vec<_>, Refusal>>()?;
    let entity = QuotaEntity::of(parts);
    let Some(ip) = entity.part(Part::Ip) else {
        return Ok(entity);
    };
    if entity.part_count() > 1 {
        return Err(wrong(
            "An ip cannot be combined with a user or a client-id: their quotas limit other things",
        ));
    }
    match ip.get() {
        Some(ip) if address(ip).is_none() => Err(wrong(format!("{ip} is not a valid IP"))),
        _ => Ok(entity),
    }
}

/// Which keys an entity can have.
fn fits(key: QuotaKey, entity: &QuotaEntity) -> bool {
    (key == QuotaKey::ConnectionRate) == entity.part(Part::Ip).is_some()
}

fn check_value(key: QuotaKey, value: f64) -> Result<(), Refusal> {
    let name = key.name();
    if !value.is_finite() {
        return Err(wrong(format!("Quota {name} must be a finite number")));
    }
    if value <= 0.0 {
        return Err(wrong(format!("Quota {name} must be greater than 0")));
    }
    let (most, kind) = match key {
        QuotaKey::ProducerBytes | QuotaKey::ConsumerBytes => (LONG_MAX, "a LONG"),
        QuotaKey::ConnectionRate => (f64::from(i32::MAX), "an INT"),
        QuotaKey::RequestPercentage | QuotaKey::Mutations => return Ok(()),
    };
    if value > most {
        return Err(wrong(format!(
            "Proposed value for {name} is too large for {kind}."
        )));
    }
    if (value - (value + WHOLE).trunc()).abs() > WHOLE {
        return Err(wrong(format!("{name} cannot be a fractional value.")));
    }
    Ok(())
}

/// The address that a quota is for. Kafka looks up names of hosts; here only that of this machine is known, since nobody
/// is to wait for a name server. Addresses of less than four numbers mean what they always have: the last one fills up.
pub fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if text.eq_ignore_ascii_case("localhost") {
        return Some([127, 0, 0, 1].into());
    }
    let numbers = text.split('.').map(|number| {
        let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| number.parse::<u32>().ok()).flatten()
    });
    let numbers = numbers.collect::<Option<Vec<u32>>>()?;
    let (last, first) = numbers.split_last()?;
    if first.len() > 2 {
        return None;
    }
    let mut bits = 0u32;
    for (place, number) in first.iter().enumerate() {
        let number = u8::try_from(*number).ok()?;
        bits |= u32::from(number) << (24 - 8 * place);
    }
    let room = 32 - 8 * first.len() as u32;
    let fits = u64::from(*last) < 1u64 << room;
    fits.then(|| IpAddr::from((bits | last).to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(entity: &[(&str, Option<&str>)], changes: &[(&str, Option<f64>)]) -> QuotaWish {
        let entity = entity.iter();
        let changes = changes.iter();
        QuotaWish {
            entity: entity
                .map(|(part, name)| (Box::from(*part), name.map(Box::from)))
                .collect(),
            changes: changes
                .map(|(key, value)| (Box::from(*key), *value))
                .collect(),
        }
    }

    fn decided(wishes: &[QuotaWish]) -> (usize, Vec<bool>) {
        let (changes, outcomes) = decide(&Quotas::default(), wishes);
        (
            changes.len(),
            outcomes.iter().map(|(_, o)| o.is_ok()).collect(),
        )
    }

    #[test]
    fn an_entity_is_changed_whole_or_not_at_all_and_the_others_beside_it() {
        let good = ("producer_byte_rate", Some(5.0));
        let half = wish(
            &[("user", Some("a"))],
            &[good, ("consumer_byte_rate", Some(-5.0))],
        );
        let other = wish(&[("user", Some("b")), ("client-id", None)], &[good]);
        assert_eq!(decided(&[half, other]), (1, vec![false, true]));
    }

    #[test]
    fn an_entity_that_comes_twice_is_told_once_and_its_first_wish_is_done() {
        let first = wish(&[("user", Some("a"))], &[("producer_byte_rate", Some(5.0))]);
        let second = wish(&[("user", Some("a"))], &[("consumer_byte_rate", Some(6.0))]);
        assert_eq!(decided(&[first, second]), (1, vec![false]));
        let keys = [
            ("producer_byte_rate", Some(5.0)),
            ("producer_byte_rate", None),
        ];
        assert_eq!(
            decided(&[wish(&[("user", Some("a"))], &keys)]),
            (0, vec![false])
        );
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let mut quotas = Quotas::default();
        let entity = QuotaEntity::of([(Part::User, Name::Default)]);
        quotas.set(&entity, QuotaKey::Mutations, Some(0.5));
        let same = wish(
            &[("user", None)],
            &[("controller_mutation_rate", Some(0.5))],
        );
        let gone = wish(
            &[("user", Some("a"))],
            &[("controller_mutation_rate", None)],
        );
        assert!(decide(&quotas, &[same, gone]).0.is_empty());
        let less = wish(&[("user", None)], &[("controller_mutation_rate", None)]);
        assert_eq!(decide(&quotas, &[less]).0[0].value, None);
    }

    #[test]
    fn addresses_may_be_short_but_are_never_looked_up() {
        let is = |text, expected: [u8; 4]| address(text) == Some(expected.into());
        assert!(is("127.0.0.1", [127, 0, 0, 1]) && is("localhost", [127, 0, 0, 1]));
        assert!(is("127.0.1", [127, 0, 0, 1]) && is("10.256", [10, 0, 1, 0]));
        assert!(is("1.2.65535", [1, 2, 255, 255]) && is("1", [0, 0, 0, 1]));
        assert_eq!(address("::1"), Some("::1".parse().unwrap()));
        for wrong in [
            "300.1.1.1",
            "1.2.65536",
            "a.example",
            "",
            "1.",
            "+1",
            "1.2.3.4.5",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
