//! What the program logs: RUST_LOG at the start, afterwards what clients set for the broker's loggers.

use crate::log_queue::LogQueue;
use rustka::LogControl;
use rustka::base::loggers::ROOT;
use std::backtrace::BacktraceStatus;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

/// Whether lines are text for people or JSON for programs.
pub const FORMAT: &str = "RUSTKA_LOG_FORMAT";

/// The levels in force and the filter that they make.
struct Filter {
    levels: Mutex<Targets>,
    handle: Handle<Targets, Registry>,
    queue: LogQueue,
}

/// Logs to stderr by way of `queue` as RUST_LOG says, by default `level` and above; hands out the control over it.
/// Panics are lines of the log as well: who panics must not wait for a reader of stderr either.
pub fn install(level: LevelFilter, queue: &LogQueue) -> Arc<dyn LogControl> {
    let given = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let parsed = given.as_deref().map(str::parse::<Targets>);
    let targets = match &parsed {
        Some(Ok(targets)) => targets.clone(),
        Some(Err(_)) | None => Targets::new().with_default(level),
    };
    let (filter, handle) = reload::Layer::new(targets.clone());
    let format = std::env::var(FORMAT).unwrap_or_default();
    let is_json = format == "json";
    let text = tracing_subscriber::fmt::layer()
        .with_writer(queue.clone())
        // Colours are for people; files and CI get plain text.
        .with_ansi(std::io::stderr().is_terminal());
    let json = tracing_subscriber::fmt::layer()
        .with_writer(queue.clone())
        .json()
        .flatten_event(true);
    tracing_subscriber::registry()
        .with(filter)
        .with((!is_json).then_some(text))
        .with(is_json.then_some(json))
        .init();
    if !matches!(format.as_str(), "" | "text" | "json") {
        let format = format.escape_debug();
        tracing::warn!("{FORMAT} is '{format}': expected text or json");
    }
    if let Some(Err(error)) = parsed {
        tracing::warn!("RUST_LOG is not of the form LEVEL or MODULE=LEVEL,…: {error}");
    }
    std::panic::set_hook(Box::new(|panic| {
        // One line whatever the message holds; RUST_BACKTRACE adds where it came from.
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        let text = panic.to_string().replace('\n', "\\n");
        let trace = std::backtrace::Backtrace::capture();
        match trace.status() {
            BacktraceStatus::Captured => tracing::error!("thread {name}: {text}\n{trace}"),
            _ => tracing::error!("thread {name}: {text}"),
        }
    }));
    Arc::new(Filter {
        levels: Mutex::new(targets),
        handle,
        queue: queue.clone(),
    })
}

impl LogControl for Filter {
    fn level(&self, logger: &str) -> LevelFilter {
        let targets = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        level_of(&targets, logger)
    }

    fn set(&self, levels: &BTreeMap<String, Option<LevelFilter>>) -> Result<(), String> {
        let mut targets = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let next = with_levels(&targets, levels);
        self.handle
            .reload(next.clone())
            .map_err(|error| error.to_string())?;
        *targets = next;
        Ok(())
    }

    fn lines_dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

fn level_of(targets: &Targets, logger: &str) -> LevelFilter {
    if logger == ROOT {
        return targets.default_level().unwrap_or(LevelFilter::OFF);
    }
    let levels = [
        Level::TRACE,
        Level::DEBUG,
        Level::INFO,
        Level::WARN,
        Level::ERROR,
    ];
    let mut enabled = levels.into_iter();
    let most = enabled.find(|level| targets.would_enable(logger, level));
    most.map_or(LevelFilter::OFF, LevelFilter::from_level)
}

fn with_levels(targets: &Targets, levels: &BTreeMap<String, Option<LevelFilter>>) -> Targets {
    let mut own: BTreeMap<String, LevelFilter> = targets
        .iter()
        .map(|(target, level)| (target.to_owned(), level))
        .collect();
    let mut default = targets.default_level().unwrap_or(LevelFilter::OFF);
    for (logger, level) in levels {
        match level {
            Some(level) if logger == ROOT => default = *level,
            Some(level) => drop(own.insert(logger.clone(), *level)),
            None => drop(own.remove(logger)),
        }
    }
    Targets::new().with_targets(own).with_default(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_without_a_level_follows_the_one_before_it() {
        let targets: Targets = "warn,rustka::http=trace".parse().unwrap();
        assert_eq!(level_of(&targets, ROOT), LevelFilter::WARN);
        assert_eq!(level_of(&targets, "rustka"), LevelFilter::WARN);
        assert_eq!(level_of(&targets, "rustka::http"), LevelFilter::TRACE);
        let levels = [
            ("rustka".to_owned(), Some(LevelFilter::DEBUG)),
            ("rustka::http".to_owned(), None),
        ];
        let next = with_levels(&targets, &levels.into());
        assert_eq!(level_of(&next, ROOT), LevelFilter::WARN);
        assert_eq!(level_of(&next, "rustka"), LevelFilter::DEBUG);
        assert_eq!(level_of(&next, "rustka::http"), LevelFilter::DEBUG);
        let root = [(ROOT.to_owned(), Some(LevelFilter::ERROR))];
        assert_eq!(
            level_of(&with_levels(&next, &root.into()), ROOT),
            LevelFilter::ERROR
        );
    }
}
