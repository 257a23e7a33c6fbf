//! Options as Kafka's tools take them: whole words with one dash or two, their values behind `=` or in the next argument.

use std::collections::BTreeMap;

/// How many values an option has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None: it is there or not.
    Nothing,
    /// One, and it may be given once.
    One,
    /// One each time it is given.
    Many,
    /// One or none.
    Maybe,
}

/// The options of a tool.
pub type Specs = &'static [(&'static str, Takes)];

/// What was given.
#[derive(Debug, Default)]
pub struct Given(BTreeMap<&'static str, Vec<String>>);

impl Given {
    /// Reads arguments. `not_here` are options of Kafka's tool that this one does not have. Words that belong to no option
    /// are nobody's, as in Kafka's tools. The error is a sentence.
    pub fn read(specs: Specs, not_here: &[&str], arguments: &[String]) -> Result<Given, String> {
        let mut given = Given::default();
        let mut rest = arguments.iter().peekable();
        while let Some(argument) = rest.next() {
            let bare = argument.strip_prefix("--").or(argument.strip_prefix('-'));
            let Some(bare) = bare.filter(|bare| !bare.is_empty()) else {
                continue;
            };
            let (name, attached) = match bare.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (bare, None),
            };
            let Some(&(name, takes)) = specs.iter().find(|(known, _)| *known == name) else {
                return Err(match not_here.contains(&name) {
                    true => format!("--{name} is an option of Kafka's tool, but not built in here"),
                    false => format!("{name} is not a recognized option"),
                });
            };
            let value = match (takes, attached) {
                (Takes::Nothing, _) => None,
                (_, Some(value)) => Some(value),
                (Takes::Maybe, None) => rest.next_if(|next| !next.starts_with('-')).cloned(),
                (Takes::One | Takes::Many, None) => {
                    let value = rest.next_if(|next| !is_option(specs, next)).cloned();
                    Some(value.ok_or(format!("Option {name} requires an argument"))?)
                }
            };
            given.0.entry(name).or_default().extend(value);
        }
        Ok(given)
    }

    /// A sentence if an option has several values that takes one.
    pub fn once(&self, specs: Specs) -> Result<(), String> {
        let mut twice = specs
            .iter()
            .filter(|(name, takes)| *takes == Takes::One && self.all(name).len() > 1);
        match twice.next() {
            None => Ok(()),
            Some((name, _)) => Err(format!(
                "Found multiple arguments for option {name}, but you asked for only one"
            )),
        }
    }

    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Its value; the first of several.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    /// All its values.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Keys and values of these options, whose values are such as `k=v`.
    pub fn pairs(&self, names: &[&str]) -> impl Iterator<Item = (&str, &str)> {
        let texts = names.iter().flat_map(|name| self.all(name));
        texts.map(|text| text.split_once('=').unwrap_or((text, "")))
    }

    /// Which of these options were given.
    pub fn among<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        let names = names.iter().copied();
        names.filter(|name| self.has(name)).collect()
    }

    /// The one of these options that was given; a sentence where it is none or several.
    pub fn action<'a>(&self, names: &[&'a str]) -> Result<&'a str, String> {
        match self.among(names)[..] {
            [one] => Ok(one),
            _ => Err(format!(
                "Command must include exactly one action: --{}",
                names.join(", --")
            )),
        }
    }

    /// The value of an option that has to be there.
    pub fn required(&self, name: &str) -> Result<&str, String> {
        let value = self.one(name);
        value.ok_or_else(|| format!("Missing required argument \"[{name}]\""))
    }

    /// A sentence if the first of these options was given together with one of the others.
    pub fn excludes(&self, name: &str, others: &[&str]) -> Result<(), String> {
        match self.among(others).first() {
            Some(other) if self.has(name) => Err(format!(
                "Option \"[{name}]\" can't be used with option \"[{other}]\""
            )),
            _ => Ok(()),
        }
    }

    /// The number of an option, if it was given.
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, String> {
        let parsed = self.one(name).map(|text| {
            let wrong = |_| format!("Cannot parse argument '{text}' of option {name}");
            text.parse().map_err(wrong)
        });
        parsed.transpose()
    }
}

/// Whether the word is one of the tool's own options, so that it is nobody's value. Numbers below zero are values.
fn is_option(specs: Specs, word: &str) -> bool {
    let bare = word.strip_prefix("--").or(word.strip_prefix('-'));
    let name = bare.map(|bare| bare.split('=').next().unwrap_or(bare));
    name.is_some_and(|name| specs.iter().any(|(known, _)| *known == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: Specs = &[
        ("list", Takes::Nothing),
        ("topic", Takes::One),
        ("config", Takes::Many),
        ("codec", Takes::Maybe),
    ];

    fn read(line: &str) -> Result<Given, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Given::read(SPECS, &["known"], &words)
    }

    #[test]
    fn options_are_whole_words_with_one_dash_or_two() {
        let given = read("-list --topic=a --config x=1 --config -5 --codec stray").unwrap();
        assert!(given.has("list"));
        assert_eq!(given.one("topic"), Some("a"));
        assert_eq!(given.all("config"), ["x=1", "-5"]);
        assert_eq!(given.one("codec"), Some("stray"));
        assert_eq!(read("--codec --list").unwrap().one("codec"), None);
        assert_eq!(given.once(SPECS), Ok(()));
        let twice = read("--topic a --topic b").unwrap().once(SPECS);
        assert!(twice.unwrap_err().contains("option topic"));
        for (wrong, told) in [
            ("--lis", "lis is not a recognized option"),
            ("--known", "not built in"),
            ("--topic --list", "topic requires an argument"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_missing_or_excluded_is_named() {
        let given = read("--list --topic two").unwrap();
        assert_eq!(given.action(&["list", "create"]), Ok("list"));
        assert!(given.action(&["create", "delete"]).is_err());
        assert!(given.required("config").unwrap_err().contains("[config]"));
        assert!(given.excludes("list", &["topic"]).is_err());
        assert_eq!(given.excludes("list", &["config"]), Ok(()));
        assert!(given.number::<i32>("topic").unwrap_err().contains("'two'"));
    }
}
