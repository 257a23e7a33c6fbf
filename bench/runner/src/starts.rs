//! How long a broker needs to start over much data: after a clean stop, and after it was killed under load.

use super::peer::Peer;
use super::{Figures, room};
use std::time::Duration;
use std::{fs, thread};

/// How often a start is measured in one run.
const STARTS: u32 = 3;
/// Of a broker that takes its time.
const SLOW_STARTS: u32 = 1;
/// How long one start may take, in seconds, and how long one stop.
const START_SECS: u32 = 280;
const STOP: Duration = Duration::from_secs(120);
/// How long a broker is under load before it is killed.
const LOADED: Duration = Duration::from_secs(3);
/// What it is loaded with, by eight producers: requests of ten records of 1 KiB, as many as it takes and at most so many per second.
const REQUESTS_PER_S: u32 = 10_000;

/// The topic that is there.
const TOPIC: &str = "many";

/// Rustka fills a directory; whoever is measured is started over it, stopped and started again, and killed and started again.
pub fn starts(p: &mut Peer) -> Result<(), String> {
    let sizes = p.sizes();
    let is_kafka = p.name.starts_with("kafka");
    let own = p.script.to_owned();
    if is_kafka {
        hand_over(p, "logs", "data", "rustka-disk")?;
    }
    p.load(&format!(
        "create --name {TOPIC} --partitions {}",
        sizes.partitions
    ))?;
    room::fill(p, TOPIC, sizes.partitions, sizes.gb)?;
    if is_kafka {
        hand_over(p, "data", "logs", &own)?;
    }
    let times = if is_kafka { SLOW_STARTS } else { STARTS };
    for _ in 0..times {
        // of what has been running: whoever took the directory over has closed it once itself
        p.end(STOP)?;
        measured(p, &own, "disk-start-clean")?;
    }
    for _ in 0..times {
        let mut load = p.beside_until_killed(&format!(
            "produce --topic {TOPIC} --partitions {} --conns 8 --batch 10 --msgs 1000000000 --per-s {REQUESTS_PER_S} --secs 60",
            sizes.partitions
        ))?;
        thread::sleep(LOADED);
        let ended = load.try_wait().map_err(|e| format!("kbench: {e}"))?;
        p.kill()?;
        load.wait().map_err(|e| format!("kbench: {e}"))?;
        if let Some(status) = ended {
            return Err(format!("the load ended before its broker did: {status}"));
        }
        measured(p, &own, "disk-start-killed")?;
    }
    Ok(())
}

/// Ends whoever runs, gives its directory another name, and starts `script` over it.
fn hand_over(p: &mut Peer, from: &str, to: &str, script: &str) -> Result<(), String> {
    p.end(STOP)?;
    let (from, to) = (p.folder().join(from), p.folder().join(to));
    fs::rename(&from, &to).map_err(|e| format!("{}: {e}", from.display()))?;
    started(p, script, "serving --topic ready-probe").map(|_| ())
}

/// Starts `script` over what is there, and waits until all of a topic is.
fn started(p: &mut Peer, script: &str, line: &str) -> Result<Figures, String> {
    let port = if script.starts_with("kafka") {
        0
    } else {
        p.port() + 1
    };
    p.start_again(
        script,
        &format!("{line} --secs {START_SECS} --readyz {port}"),
    )
}

/// One start over files that the system has in its cache.
fn measured(p: &mut Peer, script: &str, case: &str) -> Result<(), String> {
    let bytes = room::warm(p.folder())?;
    let line = format!(
        "serving --topic {TOPIC} --partitions {}",
        p.sizes().partitions
    );
    let mut figures = started(p, script, &line)?;
    figures.retain(|(_, value)| value.is_finite());
    figures.push(("files_gb".to_owned(), bytes as f64 / 1e9));
    p.row(case, figures);
    Ok(())
}
