//! How much is logged, as Kafka's tools see and set it: one level for each of our modules that log, and `root`.
//!
//! A library must not change what its program logs, so whoever owns the log subscriber hands in a [`LogControl`].

use rustka_core::config::{AlterOperation, Alteration};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::sync::{Rank, lock_at};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tracing::level_filters::LevelFilter;

/// The logger that stands behind all others.
pub const ROOT: &str = "root";

/// What our log lines name as their target, so that a name outlives the moves of its file.
const LOGGERS: &[&str] = &[
    "rustka",
    "rustka::broker",
    "rustka::cluster",
    "rustka::compaction",
    "rustka::groups",
    "rustka::housekeeping",
    "rustka::http",
    "rustka::journal",
    "rustka::listener",
    "rustka::metrics",
    "rustka::storage",
    "rustka::supervise",
    "rustka::transactions",
];

/// The program's log filter.
pub trait LogControl: Send + Sync {
    /// The level up to which lines of this module are logged; of `root` those of all other modules.
    fn level(&self, logger: &str) -> LevelFilter;
    /// Sets levels; a logger without one follows the logger that its name begins with, or `root`.
    fn set(&self, levels: &BTreeMap<String, Option<LevelFilter>>) -> Result<(), String>;
    /// Lines that were left out because nobody took them fast enough.
    fn lines_dropped(&self) -> u64 {
        0
    }
}

/// The loggers of one broker.
#[derive(Default)]
pub struct Loggers {
    control: Option<Arc<dyn LogControl>>,
    changing: Mutex<()>,
}

impl Loggers {
    /// Loggers whose levels `control` knows; without it they are read from the subscriber and cannot be set.
    pub fn new(control: Option<Arc<dyn LogControl>>) -> Loggers {
        Loggers {
            control,
            changing: Mutex::default(),
        }
    }

    /// Every logger and its level in Kafka's words, by name.
    pub fn levels(&self) -> Vec<(&'static str, &'static str)> {
        let names = std::iter::once(ROOT).chain(LOGGERS.iter().copied());
        names.map(|name| (name, word(self.level(name)))).collect()
    }

    /// Lines of the log that were left out, as far as somebody counts them.
    pub fn lines_dropped(&self) -> u64 {
        self.control
            .as_ref()
            .map_or(0, |control| control.lines_dropped())
    }

    fn level(&self, name: &str) -> LevelFilter {
        match &self.control {
            Some(control) => control.level(name),
            None => LevelFilter::current(),
        }
    }

    /// Sets and unsets levels, all or none (IncrementalAlterConfigs of a broker logger).
    pub fn alter(&self, changes: &[Alteration], validate_only: bool) -> Result<(), Refusal> {
        let _one_at_a_time = lock_at(Rank::Configs, &self.changing);
        let mut levels = BTreeMap::new();
        for change in changes {
            levels.insert(change.name.clone(), checked(change)?);
        }
        if validate_only || levels.is_empty() {
            return Ok(());
        }
        let set = match &self.control {
            Some(control) => control.set(&levels),
            None => Err("the program around this broker decides what is logged".to_owned()),
        };
        set.map_err(|why| Refusal::new(ErrorCode::InvalidRequest, why))
    }
}

fn checked(change: &Alteration) -> Result<Option<LevelFilter>, Refusal> {
    let name = change.name.as_str();
    if name != ROOT && !LOGGERS.contains(&name) {
        let known = [&[ROOT], LOGGERS].concat().join(", ");
        return Err(Refusal::new(
            ErrorCode::InvalidConfig,
            format!(
                "Logger {} does not exist; there are {known}.",
                name.escape_debug().take(200).collect::<String>()
            ),
        ));
    }
    match change.operation {
        AlterOperation::Set => {
            let value = change.value.as_deref().unwrap_or("");
            let level = from_word(value).ok_or_else(|| {
                Refusal::new(
                    ErrorCode::InvalidConfig,
                    format!(
                        "Cannot set the log level of {name} to '{}', expected one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL.",
                        value.escape_debug().take(200).collect::<String>()
                    ),
                )
            })?;
            Ok(Some(level))
        }
        AlterOperation::Delete if name == ROOT => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "The level of the root logger cannot be deleted.",
        )),
        AlterOperation::Delete => Ok(None),
        AlterOperation::Append | AlterOperation::Subtract => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Log levels can be set and deleted, not appended to or subtracted from.",
        )),
    }
}

/// Nothing is logged as fatal, so it means what ERROR does.
fn from_word(word: &str) -> Option<LevelFilter> {
    Some(match word {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        _ => return None,
    })
}

fn word(level: LevelFilter) -> &'static str {
    match level.into_level() {
        Some(level) => level.as_str(),
        None => "OFF",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Lines from warnings on that are bounded by something else than a [`LogLimit`](crate::base::rate::LogLimit).
    const BOUNDED: &[(&str, &str)] = &[
        (
            "the old certificate stays",
            "when a certificate of the operator changes",
        ),
        (
            "has a new certificate",
            "when a certificate of the operator changes",
        ),
        (
            "listener {name}: {note}",
            "at the start, one for each listener",
        ),
        ("the memory limit is {} MiB", "at the start"),
        (
            "memory is short on this machine",
            "once until it is no longer",
        ),
        ("whoever can listen in on the network", "at the start"),
        ("the storage did not end in order", "at the end"),
        ("were not answered before the broker stopped", "at the end"),
        ("the clock jumped ahead", "no client moves the clock"),
        ("failed unexpectedly and starts again", "pauses grow"),
        (
            "batches in {partitions} partitions cannot be read",
            "once in a while, and until it changes",
        ),
        ("the memory limit of {} bytes is reached", "once"),
        ("a partition is offline since", "once until it is back"),
        (
            "partition {index} of topic {topic} is back",
            "once for each time it was offline",
        ),
        ("stays offline", "once for a partition"),
        ("is offline: {why}", "once for a partition"),
        (
            "not everything of it could be dropped",
            "once for a partition",
        ),
        ("is read-only: its write", "once for a partition"),
        ("as the data directory {} says", "at the start"),
        (
            "could not be started: {error}",
            "where there are no threads to be had",
        ),
        ("work on the data directory failed", "a mistake of ours"),
        ("failed while it was opened", "a mistake of ours"),
        ("the lock file in {} could not be removed", "at the end"),
        ("deleted records would come back", "once"),
        (
            "does not belong to the topic that is called so",
            "once for a folder",
        ),
        ("deleted records could not be removed", "once"),
        ("{} could not be {what}", "once for a partition"),
        ("could not be set aside", "once"),
        ("is cut off", "at the start, once for a partition"),
        (
            "is gone, and what belongs to it",
            "at the start, once for a partition",
        ),
        (
            "cannot be read: {code}",
            "at the start, once for a partition",
        ),
        ("cannot be read: {error}", "once for a file"),
        ("could not be marked as left in order", "at the end"),
        ("is not left in order: the next start", "at the end"),
        (
            "cannot be marked for the next start",
            "once, the directory is given up",
        ),
        ("and what was synced up to {synced} is gone", "at the start"),
        ("is damaged at byte {at}", "once for what is damaged"),
        ("all of it is gone over", "at the start, once for a file"),
        (
            "whatever the mark of that says",
            "at the start, once for a partition",
        ),
        ("segments behind it, which were not synced", "at the start"),
        ("is full, {free_bytes} bytes are left", "when it changes"),
        ("there is room again on the volume", "when it changes"),
        ("is not compacted: {error}", "once for a partition"),
        ("could not be noted: {error}", "once for what is damaged"),
        (
            "the records with the offsets {} to {} cannot be read any more",
            "once for what is damaged",
        ),
        ("was last served by Apache Kafka", "at the start"),
        (
            "a snapshot of the cluster cannot be read",
            "when its log is read, at the start",
        ),
    ];

    /// What lines of these levels say below this folder.
    fn lines(folder: &Path, levels: &[&str], found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("sources") {
            let path = entry.expect("entry").path();
            if path.is_dir() && !path.ends_with("bin") {
                lines(&path, levels, found);
            }
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("source");
            for level in levels {
                let begins = format!("tracing::{level}!(");
                let all = text.split(&begins).skip(1);
                // A line ends where its macro does, in whatever way it was laid out.
                let ends = |line: &str| {
                    [");", ")\n", "),\n"]
                        .iter()
                        .filter_map(|end| line.find(end))
                        .min()
                };
                found.extend(all.map(|line| line[..ends(line).unwrap_or(line.len())].to_owned()));
            }
        }
    }

    /// A client that could cause a line with each request filled disks and hid everything else.
    #[test]
    fn every_line_that_a_client_can_cause_is_limited() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for folder in ["src", "../storage/src"] {
            lines(&root.join(folder), &["error", "warn", "info"], &mut found);
        }
        let is_bounded = |line: &&String| BOUNDED.iter().any(|(words, _)| line.contains(words));
        let unlimited: Vec<_> = found
            .iter()
            .filter(|line| !line.contains("left_out") && !is_bounded(line))
            .collect();
        assert!(unlimited.is_empty(), "{unlimited:#?}");
        for (words, _) in BOUNDED {
            assert!(found.iter().any(|line| line.contains(words)), "{words}");
        }
    }

    /// The loggers that the lines below this folder name, in order of appearance.
    fn named(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("sources") {
            let path = entry.expect("entry").path();
            if path.is_dir() && !path.ends_with("bin") {
                named(&path, found);
            }
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("source");
            for level in ["error", "warn", "info", "debug", "trace"] {
                for line in text.split(&format!("tracing::{level}!(")).skip(1) {
                    let target = line.trim_start().strip_prefix("target: \"");
                    let name = target.and_then(|rest| rest.split('"').next());
                    let name = name.unwrap_or_else(|| panic!("{path:?}: a line without a target"));
                    found.push(name.to_owned());
                }
            }
        }
    }

    #[test]
    fn every_line_names_its_logger_and_every_logger_has_lines() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut lines = Vec::new();
        named(&root.join("src"), &mut lines);
        named(&root.join("../storage/src"), &mut lines);
        assert!(lines.len() > 10, "{lines:?}");
        for name in &lines {
            assert!(LOGGERS[1..].contains(&name.as_str()), "{name}");
        }
        for logger in &LOGGERS[1..] {
            assert!(lines.iter().any(|name| name == logger), "{logger}");
        }
    }

    #[test]
    fn without_a_control_levels_are_told_but_cannot_be_set() {
        let loggers = Loggers::default();
        let change = |name: &str| Alteration {
            name: name.to_owned(),
            operation: AlterOperation::Set,
            value: Some("DEBUG".to_owned()),
        };
        assert!(
            loggers
                .levels()
                .iter()
                .any(|(name, _)| *name == "rustka::http")
        );
        let code = |name| loggers.alter(&[change(name)], false).unwrap_err().code;
        assert_eq!(code("rustka"), ErrorCode::InvalidRequest);
        assert_eq!(code("kafka.server"), ErrorCode::InvalidConfig);
    }
}
