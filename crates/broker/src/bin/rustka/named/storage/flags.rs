//! The flags of `kafka-storage`, which may be cut short as long as they stay clear.

use crate::named::value_of;

/// A flag: its long name, its short one, and whether it has a value.
pub type Flag = (&'static str, &'static str, bool);

pub const CONFIG: Flag = ("--config", "-c", true);
pub const FEATURE: Flag = ("--feature", "-f", true);
pub const RELEASE: Flag = ("--release-version", "-r", true);

/// What was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Flags(Vec<(&'static str, String)>);

impl Flags {
    /// Reads what follows a command. The error is a sentence.
    pub fn read(known: &[Flag], arguments: &[String]) -> Result<Flags, String> {
        let mut given = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (flag, attached) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
                _ => (argument.as_str(), None),
            };
            let is_meant = |(long, short, _): &&Flag| {
                flag == *short
                    || (flag.len() > 2 && flag.starts_with("--") && long.starts_with(flag))
            };
            let mut meant = known.iter().filter(is_meant);
            let (Some((long, _, has_value)), None) = (meant.next(), meant.next()) else {
                return Err(format!("unrecognized argument {flag}"));
            };
            let value = match has_value {
                true => value_of(long, attached, &mut rest)?,
                false => String::new(),
            };
            given.push((*long, value));
        }
        Ok(Flags(given))
    }

    /// Whether it was given.
    pub fn has(&self, flag: &Flag) -> bool {
        self.0.iter().any(|(long, _)| *long == flag.0)
    }

    /// Its value; the last of several.
    pub fn one(&self, flag: &Flag) -> Option<&str> {
        self.all(flag).last()
    }

    /// All its values.
    pub fn all(&self, flag: &Flag) -> impl Iterator<Item = &str> {
        let long = flag.0;
        let given = self.0.iter().filter(move |(known, _)| *known == long);
        given.map(|(_, value)| value.as_str())
    }

    /// The value of one that has to be there.
    pub fn required(&self, flag: &Flag) -> Result<&str, String> {
        let value = self.one(flag).filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("argument {}/{} is required", flag.0, flag.1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::FLAGS;
    use super::*;

    fn of(words: &[&str]) -> Result<Flags, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Flags::read(FLAGS, &words)
    }

    #[test]
    fn flags_may_be_cut_short_as_long_as_they_are_clear() {
        let full = of(&["--cluster", "x", "--conf=f", "--ignore"]).unwrap();
        let short = of(&["-t", "x", "-c", "f", "-g"]).unwrap();
        assert_eq!(full, short);
        assert_eq!(full.required(&CONFIG), Ok("f"));
        for (wrong, told) in [
            (&["--c", "x"][..], "--c"),
            (&["-t"], "needs a value"),
            (&["--frobnicate"], "--frobnicate"),
        ] {
            let error = of(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong:?}: {error}");
        }
        let error = of(&["-t", "x"]).unwrap().required(&CONFIG).unwrap_err();
        assert!(error.contains("--config/-c"));
    }
}
