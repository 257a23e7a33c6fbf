//! How much clients may use, as requests see it: what the cluster has on record and is durable, and what was used of it.

use rustka_core::security::facts::Facts;
use rustka_core::security::quota::alter::QuotaChange;
use rustka_core::security::quota::meter::{MeterOptions, Meters};
use rustka_core::sync::{Guard, Rank, lock_at};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Connections of addresses over their quota that are kept waiting; more are closed at once.
const HELD_MAX: usize = 1_000;

/// The quotas of a broker. Where none is set they cost one look.
pub struct Quotas {
    options: MeterOptions,
    limits_requests: AtomicBool,
    limits_addresses: AtomicBool,
    meters: Mutex<Meters>,
    held: AtomicUsize,
}

impl Quotas {
    /// Nobody is limited yet.
    pub fn new(options: MeterOptions) -> Quotas {
        Quotas {
            options,
            limits_requests: AtomicBool::new(false),
            limits_addresses: AtomicBool::new(false),
            meters: Mutex::new(Meters::new(options)),
            held: AtomicUsize::new(0),
        }
    }

    /// Shows what holds from now on; the next request goes by it.
    pub fn show(&self, change: &QuotaChange) {
        let mut meters = lock_at(Rank::Quotas, &self.meters);
        meters.set(&change.entity, change.key, change.value);
        self.note(&meters);
    }

    /// Shows all that holds, and nothing that did before. Nobody has used anything yet.
    pub fn show_all(&self, facts: &Facts) {
        let mut meters = Meters::new(self.options);
        for (entity, values) in facts.quotas.all() {
            for (key, value) in values {
                meters.set(entity, *key, Some(*value));
            }
        }
        let mut shown = lock_at(Rank::Quotas, &self.meters);
        *shown = meters;
        self.note(&shown);
    }

    fn note(&self, meters: &Meters) {
        self.limits_requests
            .store(meters.limits_requests(), Relaxed);
        self.limits_addresses
            .store(meters.limits_addresses(), Relaxed);
    }

    /// Whether any request costs anything.
    pub fn limits_requests(&self) -> bool {
        self.limits_requests.load(Relaxed)
    }

    /// The meters.
    pub fn meters(&self) -> Guard<'_, Meters> {
        lock_at(Rank::Quotas, &self.meters)
    }

    /// Counts a new connection; for how many milliseconds it is kept waiting before it is closed, if it is one too many.
    pub fn connected(&self, address: IpAddr, now_ms: i64) -> Option<u32> {
        if !self.limits_addresses.load(Relaxed) {
            return None;
        }
        let wait_ms = self.meters().connected(address, now_ms);
        (wait_ms > 0).then_some(wait_ms)
    }

    /// A place among the connections that are kept waiting, if there is one.
    pub fn hold(&self) -> Option<HeldPlace<'_>> {
        let place = HeldPlace(&self.held);
        // Given up again by the place itself.
        (self.held.fetch_add(1, Relaxed) < HELD_MAX).then_some(place)
    }
}

/// One of the connections that are kept waiting.
pub struct HeldPlace<'a>(&'a AtomicUsize);

impl Drop for HeldPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
