//! Certificates are renewed while the broker runs: files that changed are read again, and so are those that a listener's
//! configs name from now on. What cannot be used leaves the old ones in force.

use super::rules;
use crate::net::addresses::Address;
use crate::net::login_rules::ListenerConfigs;
use crate::node::{Listener, Node};
use rustka_core::config::BrokerConfig;
use std::sync::Arc;
use std::time::SystemTime;

/// What the supervisor calls the task.
pub const TASK: &str = "watching certificates";
/// How often files are looked at.
pub const LOOK_MS: i64 = 2_000;

/// A listener whose certificate is in files.
pub struct Watched {
    /// What it serves with.
    pub listener: Arc<Listener>,
    /// Its place in `listeners`.
    pub address: Address,
    /// Its configs.
    pub own: ListenerConfigs,
}

/// What a certificate hangs on.
#[derive(PartialEq, Eq)]
struct Stamps {
    /// When each file was written, and how long it was.
    files: Vec<Option<(SystemTime, u64)>>,
    /// What is set.
    values: Vec<Option<String>>,
}

/// Looks at the files for as long as the broker lives.
pub async fn run(node: Arc<Node>, all: Arc<Vec<Watched>>) {
    let config = node.config.broker();
    let mut seen: Vec<Stamps> = all.iter().map(|one| stamps(one, &config)).collect();
    loop {
        let next_ms = node.clock.monotonic_ms() + LOOK_MS;
        node.clock.sleep_until(next_ms).await;
        let config = node.config.broker();
        for (watched, seen) in all.iter().zip(&mut seen) {
            let now = stamps(watched, &config);
            if *seen != now {
                *seen = now;
                again(watched, &config, node.clock.now().wall_ms);
            }
        }
    }
}

fn stamps(watched: &Watched, config: &BrokerConfig) -> Stamps {
    let files = rules::files(&watched.address, config, &watched.own);
    let stamp = |path: &String| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    Stamps {
        files: files.iter().map(stamp).collect(),
        values: rules::values(&watched.address, config, &watched.own),
    }
}

fn again(watched: &Watched, config: &BrokerConfig, now_ms: i64) {
    let Watched {
        listener,
        address,
        own,
    } = watched;
    match (
        rules::load(address, config, own, None, now_ms),
        &listener.tls,
    ) {
        (Ok(loaded), Some(tls)) => {
            tls.replace(loaded.config, loaded.pages);
            tracing::info!(target: "rustka::listener", "listener {} has a new certificate", address.name);
        }
        (Ok(_), None) => {}
        (Err(error), _) => {
            tracing::warn!(target: "rustka::listener", "the old certificate stays: {error}");
        }
    }
}
