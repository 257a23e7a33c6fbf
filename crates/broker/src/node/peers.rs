//! Who is connected: how many may be, and who has to go when they cost too much.

use crate::node::Peer;
use rustka_core::config::BrokerSettings;
use rustka_core::sync::{Guard, lock};
use rustka_storage::buffer::BlockRef;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Descriptors that connections never take: for listeners, health checks, files.
const DESCRIPTORS_KEPT: usize = 64;

/// Why a connection is refused before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefused {
    /// `max.connections.per.ip`, or its override for this address.
    PerAddress(usize),
    /// The process may not open more.
    Descriptors(usize),
}

impl std::fmt::Display for ConnectionRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectionRefused::PerAddress(max) => {
                write!(
                    f,
                    "max.connections.per.ip allows {max} connections from there"
                )
            }
            ConnectionRefused::Descriptors(max) => write!(
                f,
                "{max} connections are open, as many as the limit on open files leaves room for"
            ),
        }
    }
}

/// All open connections.
pub struct Peers {
    inner: Mutex<Inner>,
    /// Told when one closes.
    pub left: Notify,
    /// No further request is taken from any of them.
    ended: AtomicBool,
    descriptors_max: Option<usize>,
}

#[derive(Default)]
struct Inner {
    by_id: BTreeMap<u64, Arc<Peer>>,
    by_address: BTreeMap<IpAddr, usize>,
}

impl Default for Peers {
    fn default() -> Self {
        Peers::new(descriptors_max())
    }
}

impl Peers {
    /// Nobody yet; connections keep a distance from a limit on open files.
    pub fn new(descriptors: Option<usize>) -> Peers {
        Peers {
            inner: Mutex::default(),
            left: Notify::new(),
            ended: AtomicBool::new(false),
            descriptors_max: descriptors
                .map(|max| max.saturating_sub(DESCRIPTORS_KEPT.min(max / 2))),
        }
    }

    fn lock(&self) -> Guard<'_, Inner> {
        lock(&self.inner)
    }

    /// Takes a connection in, unless its address has enough of them or the process has.
    pub fn enter(
        &self,
        peer: &Arc<Peer>,
        settings: &BrokerSettings,
    ) -> Result<(), ConnectionRefused> {
        let ip = peer.address.ip();
        let per_address = per_address_max(settings, ip);
        let mut inner = self.lock();
        // A limit that was set is waited for by the listener; only without one the process' own counts.
        if settings.connections_max == i32::MAX
            && let Some(max) = self.descriptors_max.filter(|max| inner.by_id.len() >= *max)
        {
            return Err(ConnectionRefused::Descriptors(max));
        }
        let count = inner.by_address.entry(ip).or_default();
        if *count >= per_address {
            return Err(ConnectionRefused::PerAddress(per_address));
        }
        *count += 1;
        inner.by_id.insert(peer.id, peer.clone());
        Ok(())
    }

    /// Forgets a connection that has ended.
    pub fn leave(&self, peer: &Peer) {
        let mut inner = self.lock();
        if inner.by_id.remove(&peer.id).is_none() {
            return;
        }
        let ip = peer.address.ip();
        if let Some(count) = inner.by_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                inner.by_address.remove(&ip);
            }
        }
        drop(inner);
        self.left.notify_waiters();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().by_id.len()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Peer>> {
        self.lock().by_id.values().cloned().collect()
    }

    /// Has no further request taken from anybody, since the broker stops. What has begun goes on; when
    /// [`Peers::all_have_ended`] nothing more will begin.
    pub fn end_reading(&self) {
        self.ended.store(true, Relaxed);
        self.all().iter().for_each(|peer| peer.wake());
    }

    /// Whether no further request may begin.
    pub fn reading_has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Whether every connection knows that.
    pub fn all_have_ended(&self) -> bool {
        let inner = self.lock();
        inner.by_id.values().all(|peer| peer.ended.load(Acquire))
    }

    /// Whether any has a request under way.
    pub fn any_busy(&self) -> bool {
        self.lock().by_id.values().any(|peer| peer.is_busy())
    }

    /// The connections whose unsent answers have held records that the log has dropped for longest, as many as it
    /// takes until the rest of them holds at most `tolerated_bytes` of such memory.
    pub fn slowest_readers(&self, tolerated_bytes: usize) -> Vec<Arc<Peer>> {
        let mut holders: Vec<(i64, Arc<Peer>, Vec<BlockRef>)> = Vec::new();
        let mut held: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for peer in self.all() {
            let Some((since_ms, blocks)) = peer.dropped_but_held() else {
                continue;
            };
            for block in &blocks {
                held.entry(block.address()).or_insert((block.bytes(), 0)).1 += 1;
            }
            holders.push((since_ms, peer, blocks));
        }
        let mut bytes: usize = held.values().map(|(bytes, _)| bytes).sum();
        holders.sort_by_key(|(since_ms, peer, _)| (*since_ms, peer.id));
        let mut slowest = Vec::new();
        for (_, peer, blocks) in holders {
            if bytes <= tolerated_bytes {
                break;
            }
            for block in blocks {
                if let Some((size, count)) = held.get_mut(&block.address()) {
                    *count -= 1;
                    if *count == 0 {
                        bytes -= *size;
                    }
                }
            }
            slowest.push(peer);
        }
        slowest
    }
}

fn per_address_max(settings: &BrokerSettings, ip: IpAddr) -> usize {
    let own = settings
        .connections_per_address_overrides
        .iter()
        .filter_map(|pair| pair.rsplit_once(':'))
        .find(|(host, _)| host.trim().parse() == Ok(ip))
        .and_then(|(_, max)| max.trim().parse().ok());
    own.unwrap_or_else(|| usize::try_from(settings.connections_per_address_max).unwrap_or(0))
}

/// Files that this process may have open, where the system says so.
fn descriptors_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka_core::config::BrokerConfig;
    use rustka_storage::buffer::Pool;

    fn settings(pairs: &[(&str, &str)]) -> BrokerSettings {
        let config = BrokerConfig::new(pairs.iter().copied(), false).unwrap();
        config.settings().clone()
    }

    fn peer(id: u64, ip: [u8; 4]) -> Arc<Peer> {
        Peer::new(id, (ip, 1).into(), None, 0)
    }

    #[test]
    fn each_address_has_its_limit_and_some_their_own() {
        let peers = Peers::new(None);
        let settings = settings(&[
            ("max.connections.per.ip", "2"),
            ("max.connections.per.ip.overrides", "10.0.0.9:1"),
        ]);
        let first = peer(1, [10, 0, 0, 1]);
        assert_eq!(peers.enter(&first, &settings), Ok(()));
        assert_eq!(peers.enter(&peer(2, [10, 0, 0, 1]), &settings), Ok(()));
        let full = Err(ConnectionRefused::PerAddress(2));
        assert_eq!(peers.enter(&peer(3, [10, 0, 0, 1]), &settings), full);
        assert_eq!(peers.enter(&peer(4, [10, 0, 0, 2]), &settings), Ok(()));
        assert_eq!(peers.enter(&peer(5, [10, 0, 0, 9]), &settings), Ok(()));
        let full = Err(ConnectionRefused::PerAddress(1));
        assert_eq!(peers.enter(&peer(6, [10, 0, 0, 9]), &settings), full);
        peers.leave(&first);
        assert_eq!(peers.enter(&peer(7, [10, 0, 0, 1]), &settings), Ok(()));
        assert_eq!(peers.count(), 4);
    }

    #[test]
    fn connections_leave_some_descriptors_to_others_unless_a_limit_is_set() {
        let peers = Peers::new(Some(66));
        let unset = settings(&[]);
        for id in 0..33 {
            assert_eq!(peers.enter(&peer(id, [10, 0, 0, 1]), &unset), Ok(()));
        }
        let full = Err(ConnectionRefused::Descriptors(33));
        assert_eq!(peers.enter(&peer(99, [10, 0, 0, 1]), &unset), full);
        let set = settings(&[("max.connections", "1000")]);
        assert_eq!(peers.enter(&peer(99, [10, 0, 0, 1]), &set), Ok(()));
    }

    #[test]
    fn the_readers_that_held_dropped_records_longest_go_until_enough_is_free() {
        let (peers, pool) = (Peers::new(None), Pool::new(0));
        let block = || {
            let mut block = pool.take(1000);
            block.push(b"x");
            block.freeze_filled()
        };
        let (shared, own, kept) = (block(), block(), block());
        shared.abandon();
        own.abandon();
        let readers: Vec<_> = (0..4).map(|id| peer(id, [10, 0, 0, 1])).collect();
        for reader in &readers {
            assert_eq!(peers.enter(reader, &settings(&[])), Ok(()));
        }
        readers[0].holds(30, vec![shared.block_ref()]);
        readers[1].holds(10, vec![shared.block_ref()]);
        readers[2].holds(20, vec![own.block_ref()]);
        readers[3].holds(1, vec![kept.block_ref()]);
        let ids = |tolerated| -> Vec<u64> {
            let slowest = peers.slowest_readers(tolerated);
            slowest.iter().map(|peer| peer.id).collect()
        };
        assert_eq!(
            ids(10_000),
            [0; 0],
            "what is still in the log costs nothing"
        );
        assert_eq!(
            ids(1_500),
            [1, 2],
            "the shared one is free only without both its readers"
        );
        assert_eq!(ids(0), [1, 2, 0]);
    }
}
