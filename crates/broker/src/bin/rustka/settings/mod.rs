//! What the broker is told before it starts: every value with the place it comes from.
//!
//! Later places win: a properties file, `KAFKA_CFG_*` and `KAFKA_*` variables, `RUSTKA_*` variables, the command line.
//! All mistakes are collected, so that whoever corrects one does not meet the next at the next start.

pub mod environment;
mod file;
mod init_file;
pub mod own;
mod resolve;
#[cfg(test)]
mod tests;

use crate::flags::Flags;
pub use resolve::{Holding, Meaning, Resolved};
use std::collections::BTreeMap;
use std::fmt;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A properties file, in this line.
    File {
        /// Its name.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line } => write!(f, "{path}, line {line}"),
            Place::Variable(name) | Place::Flag(name) => f.write_str(name),
        }
    }
}

/// One value that somebody gave.
#[derive(Clone)]
pub struct Setting {
    /// What is set, such as `num.partitions`.
    pub key: String,
    /// To what. May be a secret, so that this type has no debug output.
    pub value: String,
    /// Where.
    pub place: Place,
}

/// A sentence for the log, once there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should look at it.
    pub is_warning: bool,
    /// The sentence.
    pub text: String,
}

/// Everything that was given, weakest first.
#[derive(Default)]
pub struct Settings {
    /// In the order of strength.
    pub given: Vec<Setting>,
    /// What could not be read at all.
    pub mistakes: Vec<String>,
    /// What should be said of the places.
    pub notes: Vec<Note>,
}

impl Settings {
    /// Collects what a broker is told: by the flags, and by this process's environment, before which `variables` stand.
    pub fn collect(flags: Flags, variables: Vec<(String, String)>) -> Settings {
        let outside = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        // What comes later stands in front.
        Settings::from(flags, variables.into_iter().chain(outside).collect())
    }

    fn from(flags: Flags, environment: BTreeMap<String, String>) -> Settings {
        let mut settings = Settings {
            mistakes: flags.mistakes,
            ..Settings::default()
        };
        let named = flags.file.as_deref();
        let named = named.or(environment.get("RUSTKA_CONFIG").map(String::as_str));
        settings.read_file(named);
        settings.read_environment(&environment);
        settings.given.extend(flags.settings);
        settings
    }
}
