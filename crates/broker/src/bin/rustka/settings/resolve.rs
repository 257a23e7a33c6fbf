//! What holds of all that was given: options for the broker, sentences about what is wrong, and what has no meaning here.

use super::own::{self, HIDDEN};
use super::{Note, Setting, Settings};
use rustka::{Broker, Options};
use rustka_core::config::{Scope, check_value, find_key, is_honoured, keys, nearest_name};
use std::collections::BTreeMap;

/// So many names are told of what has no meaning here.
const NAMES_TOLD_MAX: usize = 20;
/// What the keys begin with on whose being right it depends who comes in.
const DOOR: [&str; 9] = [
    "advertised.",
    "allow.everyone.",
    "authorizer.",
    "delegation.token.",
    "listener",
    "max.connection",
    "sasl.",
    "ssl.",
    "super.users",
];
/// So many letters may be wrong in a name for it to be a slip of the finger.
const SLIP_MAX: usize = 2;

/// What came of the settings.
pub struct Resolved {
    /// For a broker.
    pub options: Options,
    /// Sentences for people, one for each mistake: where, what, and what would be right.
    pub mistakes: Vec<String>,
    /// Sentences for the log.
    pub notes: Vec<Note>,
    /// What holds, by key; of those that can be given many times all, and what nothing knows, too.
    pub holding: Vec<Holding>,
}

/// A value that holds, because somebody set it.
pub struct Holding {
    /// What and where.
    pub setting: Setting,
    /// Whether it has an effect here.
    pub meaning: Meaning,
}

/// What a key means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Something.
    Effect,
    /// Nothing, though Kafka has it.
    Inert,
    /// Nothing, and nobody knows it.
    Unknown,
}

impl Setting {
    /// The value, or as much of it as may be shown.
    pub fn shown(&self) -> String {
        if let Some(own) = own::find(&self.key) {
            return (own.shown)(&self.value);
        }
        match is_secret(&self.key) {
            true => HIDDEN.to_owned(),
            false => self.value.clone(),
        }
    }
}

/// Whether the values of a key are never shown. What stands behind unknown names may be a secret.
fn is_secret(key: &str) -> bool {
    let behind = match key.strip_prefix(LISTENER) {
        Some(rest) => rest.split_once('.').map_or(rest, |(_, rest)| rest),
        None => key,
    };
    let after_mechanism = behind.split_once('.').map_or(behind, |(_, rest)| rest);
    let known =
        find_key(Scope::Broker, behind).or_else(|| find_key(Scope::Broker, after_mechanism));
    match known {
        Some(known) => known.is_sensitive() || key.ends_with("sasl.jaas.config"),
        None => !rustka::options::is_apart(key),
    }
}

const LISTENER: &str = "listener.name.";

impl Settings {
    /// Makes options of what was given, and checks all of it.
    pub fn resolve(self) -> Resolved {
        let mut resolved = Resolved {
            options: Broker::builder(),
            mistakes: self.mistakes,
            notes: self.notes,
            holding: Vec::new(),
        };
        for setting in holding(self.given) {
            match resolved.take(&setting) {
                Ok(meaning) => resolved.holding.push(Holding { setting, meaning }),
                Err(why) => {
                    let mistake = format!("{}: {why}", setting.place);
                    resolved.mistakes.push(mistake);
                }
            }
        }
        resolved.check_together();
        resolved.note_what_means_nothing();
        resolved
    }
}

/// The last setting of each key, and all of those keys that can be given many times.
fn holding(given: Vec<Setting>) -> Vec<Setting> {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (at, setting) in given.iter().enumerate() {
        last.insert(setting.key.clone(), at);
    }
    let is_many = |key: &str| own::find(key).is_some_and(|own| own.many);
    let kept = given.into_iter().enumerate();
    let kept = kept.filter(|(at, one)| is_many(&one.key) || last.get(&one.key) == Some(at));
    kept.map(|(_, setting)| setting).collect()
}

impl Resolved {
    /// Sets one value. What makes no sense is told in a sentence.
    fn take(&mut self, setting: &Setting) -> Result<Meaning, String> {
        let (key, value) = (setting.key.as_str(), setting.value.as_str());
        if let Some(own) = own::find(key) {
            let set = (own.set)(self.options.clone(), value.trim());
            self.options = set.map_err(|expected| {
                let shown = (own.shown)(value);
                let shown = shown.escape_debug();
                format!("Invalid value '{shown}' for config '{key}': expected {expected}.")
            })?;
            return Ok(Meaning::Effect);
        }
        if let Some(checked) = rustka::options::check_apart(key, value) {
            checked?;
            self.options = self.options.clone().config(key, value);
            return Ok(Meaning::Effect);
        }
        let Some(known) = find_key(Scope::Broker, key) else {
            return unknown(setting);
        };
        check_value(known, value).map_err(|refusal| {
            let message = refusal.message.unwrap_or_default();
            message.into_owned()
        })?;
        self.options = self.options.clone().config(key, value);
        Ok(match is_honoured(known) {
            true => Meaning::Effect,
            false => Meaning::Inert,
        })
    }

    /// Checks what depends on several values, and says where they come from.
    fn check_together(&mut self) {
        for error in self.options.mistakes() {
            let sentence = error.to_string();
            let named = |one: &&Holding| {
                one.meaning != Meaning::Unknown && names(&sentence, &one.setting.key)
            };
            let places = self.holding.iter().filter(named);
            let mut places: Vec<String> = places.map(|one| one.setting.place.to_string()).collect();
            places.dedup();
            self.mistakes.push(match places.is_empty() {
                true => sentence,
                false => format!("{}: {sentence}", places.join(", ")),
            });
        }
    }

    fn note_what_means_nothing(&mut self) {
        let mut slips = Vec::new();
        let mut rest = Vec::new();
        for Holding { setting, meaning } in &self.holding {
            let name = match &setting.place {
                super::Place::Variable(name) => name,
                _ => &setting.key,
            };
            let name: String = name.escape_debug().take(100).collect();
            match (meaning, nearest(&setting.key)) {
                (Meaning::Effect, _) => {}
                (Meaning::Unknown, Some(nearest)) => {
                    slips.push(format!("{name} (did you mean {nearest}?)"));
                }
                _ => rest.push(name),
            }
        }
        for (is_warning, names) in [(true, slips), (false, rest)] {
            let count = names.len();
            if count == 0 {
                continue;
            }
            let more = match count > NAMES_TOLD_MAX {
                true => ", …",
                false => "",
            };
            let told: Vec<String> = names.into_iter().take(NAMES_TOLD_MAX).collect();
            let (settings, have) = match count {
                1 => ("setting", "has"),
                _ => ("settings", "have"),
            };
            let told = told.join(", ");
            let text = format!("{count} {settings} {have} no meaning here: {told}{more}");
            self.notes.push(Note { is_warning, text });
        }
    }
}

/// A key that nothing knows: a mistake where it was meant for us, or where it would be dangerous to do without what was
/// meant; else it is somebody else's.
fn unknown(setting: &Setting) -> Result<Meaning, String> {
    let key = &setting.key;
    let nearest = nearest(key);
    let is_ours = matches!(setting.place, super::Place::Flag(_));
    let is_door = nearest.is_some_and(|nearest| {
        let slip = key.len().abs_diff(nearest.len()) <= SLIP_MAX
            && rustka_core::config::distance(key, nearest) <= SLIP_MAX;
        slip && DOOR.iter().any(|prefix| nearest.starts_with(prefix))
    });
    if !is_ours && !is_door {
        return Ok(Meaning::Unknown);
    }
    let shown: String = key.escape_debug().take(200).collect();
    Err(match nearest {
        Some(nearest) => format!("Unknown broker config '{shown}', did you mean '{nearest}'?"),
        None => format!("Unknown broker config '{shown}'."),
    })
}

/// The known name that was perhaps meant.
fn nearest(key: &str) -> Option<&'static str> {
    let ours = own::OWN.iter().map(|own| own.key);
    let apart = rustka::options::APART.iter().copied();
    let kafkas = keys(Scope::Broker).iter().map(|known| known.name);
    nearest_name(key, ours.chain(apart).chain(kafkas))
}

/// Whether a sentence names a key, as a word of its own.
fn names(sentence: &str, key: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    sentence.match_indices(key).any(|(at, _)| {
        let before = sentence[..at].chars().next_back();
        let mut after = sentence[at + key.len()..].chars();
        let goes_on = match after.next() {
            Some('.') => after.next().is_some_and(is_part),
            other => other.is_some_and(is_part),
        };
        !goes_on && !before.is_some_and(|c| is_part(c) || c == '.')
    })
}
