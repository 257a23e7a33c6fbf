//! What everybody has used of what they may: one meter for all quotas of a broker.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::alter::address;
use super::limits::{Counted, Limits};
use super::mutation::{Allowance, Bucket};
use super::rate::{Usage, Windows};
use super::{Name, Part, QuotaEntity, QuotaKey, Quotas};
use crate::sync::lock;

/// Entities whose use is remembered, of each quota; beyond it whoever has used nothing for longest is forgotten.
const ENTITIES_MAX: usize = 20_000;

/// What is remembered of entities, by user and client id; "" where they do not count.
#[derive(Debug)]
struct ByEntity<T> {
    users: BTreeMap<Box<str>, BTreeMap<Box<str>, T>>,
    count: usize,
    /// At so many those that nothing is to be remembered of are looked for.
    full_at: usize,
}

impl<T> Default for ByEntity<T> {
    fn default() -> Self {
        ByEntity {
            users: BTreeMap::new(),
            count: 0,
            full_at: ENTITIES_MAX / 16,
        }
    }
}

impl<T: Default> ByEntity<T> {
    fn get(&mut self, user: &str, client: &str) -> Option<&mut T> {
        self.users.get_mut(user)?.get_mut(client)
    }

    /// The entity's own, made if need be. `last_ms` tells when one was used last, or that it need not be remembered.
    fn entry(
        &mut self,
        user: &str,
        client: &str,
        last_ms: impl Fn(&mut T) -> Option<i64>,
    ) -> &mut T {
        if self.get(user, client).is_none() {
            self.make_room(last_ms);
            self.count += 1;
        }
        let clients = self.users.entry(user.into()).or_default();
        clients.entry(client.into()).or_default()
    }

    fn make_room(&mut self, last_ms: impl Fn(&mut T) -> Option<i64>) {
        if self.count < self.full_at {
            return;
        }
        self.retain(|one| last_ms(one).is_some());
        if self.count >= ENTITIES_MAX {
            // A part of them at once, so that not everybody who comes has all looked at.
            let mut times: Vec<i64> = Vec::with_capacity(self.count);
            for clients in self.users.values_mut() {
                times.extend(clients.values_mut().filter_map(&last_ms));
            }
            let (_, limit_ms, _) = times.select_nth_unstable(ENTITIES_MAX / 16);
            let limit_ms = *limit_ms;
            self.retain(|one| last_ms(one).is_some_and(|ms| ms > limit_ms));
        }
        self.full_at = (self.count * 2).clamp(ENTITIES_MAX / 16, ENTITIES_MAX);
    }

    fn retain(&mut self, keep: impl Fn(&mut T) -> bool) {
        self.users.retain(|_, clients| {
            clients.retain(|_, one| keep(one));
            !clients.is_empty()
        });
        self.count = self.users.values().map(BTreeMap::len).sum();
    }
}

/// One quota for users and client ids: the limits, and what was used.
#[derive(Debug, Default)]
struct Metered {
    limits: Limits,
    used: ByEntity<Usage>,
}

/// Names under which use is counted.
fn names<'a>(counted: Counted, user: &'a str, client: &'a str) -> (&'a str, &'a str) {
    match counted {
        Counted::UserAndClient => (user, client),
        Counted::User => (user, ""),
        Counted::Client => ("", client),
    }
}

impl Metered {
    fn charge(
        &mut self,
        (user, client): (&str, &str),
        amount: f64,
        windows: Windows,
        now_ms: i64,
    ) -> f64 {
        let Some((quota, counted)) = self.limits.of(user, client) else {
            return 0.0;
        };
        let (user, client) = names(counted, user, client);
        let used = self.used.entry(user, client, |used| {
            (!used.is_over(windows, now_ms)).then(|| used.last_ms())
        });
        used.record(windows, amount, now_ms);
        used.wait_ms(windows, quota, now_ms)
    }

    fn give_back(
        &mut self,
        (user, client): (&str, &str),
        amount: f64,
        windows: Windows,
        now_ms: i64,
    ) {
        let Some((_, counted)) = self.limits.of(user, client) else {
            return;
        };
        let (user, client) = names(counted, user, client);
        if let Some(used) = self.used.get(user, client) {
            used.record(windows, -amount, now_ms);
        }
    }
}

/// Quotas of addresses.
#[derive(Debug, Default)]
struct Addresses {
    limits: BTreeMap<IpAddr, f64>,
    default_limit: Option<f64>,
    used: ByEntity<Usage>,
}

/// How the meters count.
#[derive(Clone, Copy, Debug, Default)]
pub struct MeterOptions {
    /// For bytes, time and connections (`quota.window.…`).
    pub windows: Windows,
    /// For changes of partitions (`controller.quota.window.…`).
    pub mutation_windows: Windows,
}

/// All quotas with what was used of each.
#[derive(Debug, Default)]
pub struct Meters {
    options: MeterOptions,
    quotas: Quotas,
    produced: Metered,
    fetched: Metered,
    time: Metered,
    mutations: Limits,
    buckets: ByEntity<Arc<Mutex<Bucket>>>,
    addresses: Addresses,
}

impl Meters {
    /// Meters without a quota.
    pub fn new(options: MeterOptions) -> Meters {
        Meters {
            options,
            ..Meters::default()
        }
    }

    /// What is set.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Whether anybody is limited in what requests cost.
    pub fn limits_requests(&self) -> bool {
        let limits = [
            &self.produced.limits,
            &self.fetched.limits,
            &self.time.limits,
            &self.mutations,
        ];
        limits.iter().any(|limits| !limits.is_empty())
    }

    /// Whether any address is limited.
    pub fn limits_addresses(&self) -> bool {
        self.addresses.default_limit.is_some() || !self.addresses.limits.is_empty()
    }

    /// Sets a quota, or takes it away. What was used before still counts.
    pub fn set(&mut self, entity: &QuotaEntity, key: QuotaKey, value: Option<f64>) {
        self.quotas.set(entity, key, value);
        match key {
            QuotaKey::ProducerBytes => self.produced.limits.set(entity, value),
            QuotaKey::ConsumerBytes => self.fetched.limits.set(entity, value),
            QuotaKey::RequestPercentage => self.time.limits.set(entity, value),
            QuotaKey::Mutations => self.mutations.set(entity, value),
            QuotaKey::ConnectionRate => self.limit_address(entity.part(Part::Ip), value),
        }
    }

    fn limit_address(&mut self, ip: Option<&Name>, value: Option<f64>) {
        match (ip, value) {
            (None, _) => {}
            (Some(Name::Default), value) => self.addresses.default_limit = value,
            (Some(Name::Named(ip)), value) => {
                // Another way of writing the same address may be set still.
                let Some(ip) = address(ip) else { return };
                let same = |name: &Name| name.get().and_then(address) == Some(ip);
                let other = self.quotas.all().find_map(|(entity, values)| {
                    let fits = entity.part(Part::Ip).is_some_and(same);
                    fits.then(|| values.get(&QuotaKey::ConnectionRate).copied())?
                });
                match value.or(other) {
                    Some(limit) => self.addresses.limits.insert(ip, limit),
                    None => self.addresses.limits.remove(&ip),
                };
            }
        }
    }

    /// Charges the bytes of a Produce request; for how many milliseconds its client has to wait.
    pub fn produced(&mut self, who: (&str, &str), bytes: usize, now_ms: i64) -> u32 {
        let windows = self.options.windows;
        whole(self.produced.charge(who, bytes as f64, windows, now_ms))
    }

    /// Charges the bytes of the answer to a Fetch. Whoever has to wait gets an empty one, and nothing is charged.
    pub fn fetched(&mut self, who: (&str, &str), bytes: usize, now_ms: i64) -> u32 {
        let windows = self.options.windows;
        let wait_ms = self.fetched.charge(who, bytes as f64, windows, now_ms);
        if wait_ms > 0.0 {
            self.unfetched(who, bytes, now_ms);
        }
        whole(wait_ms)
    }

    /// Takes the charge of an answer back that is empty for another reason.
    pub fn unfetched(&mut self, who: (&str, &str), bytes: usize, now_ms: i64) {
        let windows = self.options.windows;
        self.fetched.give_back(who, bytes as f64, windows, now_ms);
    }

    /// Bytes that one fetch may bring at most, so that its client does not have to wait for longer than for them.
    pub fn fetch_bytes_max(&self, (user, client): (&str, &str)) -> Option<usize> {
        let (quota, _) = self.fetched.limits.of(user, client)?;
        // A number that is too large becomes the largest.
        Some((quota * self.options.windows.span_seconds()) as usize)
    }

    /// Charges the time that was spent on a request; no wait is longer than one window.
    pub fn worked(&mut self, who: (&str, &str), used_us: u64, now_ms: i64) -> u32 {
        let windows = self.options.windows;
        let percent = used_us as f64 / 10_000.0;
        let wait_ms = self.time.charge(who, percent, windows, now_ms);
        whole(wait_ms.min(windows.size_ms as f64))
    }

    /// What somebody may create and delete now; nothing where there is no limit.
    pub fn allowance(
        &mut self,
        (user, client): (&str, &str),
        strict: bool,
        now_ms: i64,
    ) -> Option<Allowance> {
        let (quota, counted) = self.mutations.of(user, client)?;
        let windows = self.options.mutation_windows;
        let (user, client) = names(counted, user, client);
        let bucket = self.buckets.entry(user, client, |bucket| {
            let mut bucket = lock(bucket);
            let is_full = bucket.is_full(quota, windows, now_ms);
            (!is_full).then(|| bucket.filled_ms())
        });
        let bucket = Arc::clone(bucket);
        Some(Allowance::new(bucket, quota, windows, now_ms, strict))
    }

    /// Charges a connection to its address; one that has to wait is not served at all, and not charged. No wait is
    /// longer than one window.
    pub fn connected(&mut self, address: IpAddr, now_ms: i64) -> u32 {
        let windows = self.options.windows;
        let address = address.to_canonical();
        let addresses = &mut self.addresses;
        let own = addresses.limits.get(&address).copied();
        let Some(quota) = own.or(addresses.default_limit) else {
            return 0;
        };
        let name = address.to_string();
        let used = addresses.used.entry(&name, "", |used| {
            (!used.is_over(windows, now_ms)).then(|| used.last_ms())
        });
        used.record(windows, 1.0, now_ms);
        let wait_ms = used.wait_ms(windows, quota, now_ms);
        if wait_ms > 0.0 {
            used.record(windows, -1.0, now_ms);
        }
        whole(wait_ms.min(windows.size_ms as f64))
    }
}

/// Too large a number becomes the largest.
fn whole(ms: f64) -> u32 {
    ms as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [(Part, &str); 2] = [(Part::User, "u"), (Part::ClientId, "c")];

    fn entity(parts: &[(Part, &str)]) -> QuotaEntity {
        let parts = parts.iter();
        QuotaEntity::of(parts.map(|(part, name)| (*part, Name::Named((*name).into()))))
    }

    fn default_client() -> QuotaEntity {
        QuotaEntity::of([(Part::ClientId, Name::Default)])
    }

    fn meters(entity: &QuotaEntity, key: QuotaKey, value: f64) -> Meters {
        let mut meters = Meters::default();
        meters.set(entity, key, Some(value));
        meters
    }

    #[test]
    fn clients_of_a_default_are_counted_each_alone_and_those_of_a_user_together() {
        let mut each = meters(&default_client(), QuotaKey::ProducerBytes, 10.0);
        assert_eq!(each.produced(("u", "a"), 200, 0), 10_000);
        assert_eq!(each.produced(("v", "b"), 100, 0), 0);
        assert_eq!(each.produced(("v", "a"), 0, 0), 10_000, "of whatever user");
        let mut all = meters(&entity(&KEYS[..1]), QuotaKey::ProducerBytes, 10.0);
        assert_eq!(all.produced(("u", "a"), 100, 0), 0);
        assert_eq!(all.produced(("u", "b"), 100, 0), 10_000);
        assert_eq!(all.produced(("v", "b"), 100, 0), 0);
    }

    #[test]
    fn a_fetch_over_its_quota_is_not_charged_for_what_it_does_not_get() {
        let mut meters = meters(&entity(&KEYS), QuotaKey::ConsumerBytes, 10.0);
        let who = ("u", "c");
        assert_eq!(meters.fetch_bytes_max(who), Some(100));
        assert_eq!(meters.fetched(who, 200, 0), 10_000);
        assert_eq!(meters.fetched(who, 100, 0), 0);
        assert_eq!(meters.fetched(who, 1, 0), 100);
        assert_eq!(meters.fetch_bytes_max(("u", "other")), None);
    }

    #[test]
    fn time_is_counted_in_hundredths_and_waits_are_short() {
        let mut meters = meters(&entity(&KEYS), QuotaKey::RequestPercentage, 1.0);
        let who = ("u", "c");
        assert_eq!(
            meters.worked(who, 100_000, 0),
            0,
            "10 % of a second in 10 s"
        );
        assert_eq!(meters.worked(who, 1_000, 0), 100);
        assert_eq!(meters.worked(who, 10_000_000, 0), 1_000);
    }

    #[test]
    fn connections_of_an_address_are_counted_however_it_is_written() {
        let one = entity(&[(Part::Ip, "127.0.0.1")]);
        let mut meters = meters(&one, QuotaKey::ConnectionRate, 1.0);
        let local = "::ffff:127.0.0.1".parse().unwrap();
        let refused = (0..12).filter(|_| meters.connected(local, 0) > 0).count();
        assert_eq!(refused, 2, "ten within ten seconds");
        assert_eq!(meters.connected(local, 0), 1_000);
        assert_eq!(meters.connected("10.0.0.1".parse().unwrap(), 0), 0);
        let same = entity(&[(Part::Ip, "localhost")]);
        meters.set(&same, QuotaKey::ConnectionRate, Some(100.0));
        assert_eq!(meters.connected(local, 0), 0);
        meters.set(&same, QuotaKey::ConnectionRate, None);
        assert!(meters.connected(local, 0) > 0, "the other one still holds");
        meters.set(&one, QuotaKey::ConnectionRate, None);
        assert_eq!(meters.connected(local, 0), 0);
        assert!(!meters.limits_addresses());
    }

    /// Whoever invents client ids must not fill memory, nor get rid of what was charged to the busy.
    #[test]
    fn only_so_many_entities_are_remembered() {
        let mut meters = meters(&default_client(), QuotaKey::ProducerBytes, 10.0);
        assert!(meters.produced(("u", "busy"), 1_000, 0) > 0);
        for n in 0..3 * ENTITIES_MAX {
            meters.produced(("u", &format!("c{n}")), 1, 1 + n as i64 / 100);
            if n % 1_000 == 0 {
                meters.produced(("u", "busy"), 0, 1 + n as i64 / 100);
            }
        }
        assert!(meters.produced.used.count <= ENTITIES_MAX);
        assert!(meters.produced(("u", "busy"), 0, 700) > 0);
        meters.produced(("u", "late"), 1, 100_000);
        for n in 0..ENTITIES_MAX {
            meters.produced(("u", &format!("d{n}")), 0, 100_000 + 12_000 * n as i64);
        }
        let kept = meters.produced.used.count;
        assert!(
            kept <= ENTITIES_MAX / 8,
            "what is over need not be kept: {kept}"
        );
    }
}
