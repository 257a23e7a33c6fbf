//! Metrics that clients push (KIP-714): which client pushes what how often, and who pushes too often.
//!
//! Decides alone; what is in the metrics is nothing to it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::config::{ClientMatch, Overrides};
use crate::error::{ErrorCode, Refusal};

/// Clients remembered; over it those silent for longest are forgotten and begin anew.
const INSTANCES_MAX: usize = 16_384;
/// The interval of a client that no subscription is for.
const INTERVAL_MS_DEFAULT: i32 = 300_000;

/// The id of one life of one client.
pub type InstanceId = [u8; 16];

/// One subscription, ready to be matched.
#[derive(Clone, Debug)]
struct Subscription {
    clients: ClientMatch,
    metrics: Vec<Box<str>>,
    interval_ms: i32,
}

/// All subscriptions at one time.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    version: u64,
    all: Vec<Subscription>,
}

impl Subscriptions {
    /// Reads checked configs; `version` grows with every change of them.
    pub fn new<'a>(version: u64, configs: impl IntoIterator<Item = &'a Overrides>) -> Self {
        let all = configs.into_iter().map(|overrides| Subscription {
            clients: ClientMatch::parse(overrides.get("match").unwrap_or("")).unwrap_or_default(),
            metrics: overrides
                .get("metrics")
                .unwrap_or("")
                .split(',')
                .map(str::trim)
                .filter(|prefix| !prefix.is_empty())
                .map(Into::into)
                .collect(),
            interval_ms: overrides
                .get("interval.ms")
                .and_then(|interval| interval.parse().ok())
                .unwrap_or(INTERVAL_MS_DEFAULT),
        });
        Subscriptions {
            version,
            all: all.collect(),
        }
    }

    /// How often the subscriptions have changed.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// What one client is to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Changes with what is wanted.
    pub subscription_id: i32,
    /// How often.
    pub interval_ms: i32,
    /// Prefixes of the metrics; `*` alone is all, none is none.
    pub metrics: Vec<Box<str>>,
}

/// A push as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// What the client was told.
    pub subscription_id: i32,
    /// Whether it is the client's last.
    pub terminating: bool,
    /// The id of the codec.
    pub codec: i8,
    /// Size of the metrics, compressed.
    pub bytes: usize,
    /// The largest size allowed.
    pub bytes_max: usize,
}

#[derive(Debug)]
struct Instance {
    wanted: Wanted,
    version: u64,
    last_get_ms: Option<i64>,
    last_push_ms: Option<i64>,
    terminating: bool,
    /// Set by errors after which a client asks again at once.
    may_ask_again: bool,
    used: u64,
}

/// All clients that have asked.
#[derive(Debug, Default)]
pub struct Telemetry {
    instances: BTreeMap<InstanceId, Instance>,
    by_use: BTreeMap<u64, InstanceId>,
    uses: u64,
}

impl Telemetry {
    /// What a client is to push (GetTelemetrySubscriptions).
    pub fn get<'a>(
        &mut self,
        id: InstanceId,
        subscriptions: &Subscriptions,
        known: impl Fn(&str) -> Cow<'a, str>,
        now_ms: i64,
    ) -> Result<Wanted, Refusal> {
        let instance = self.instance(id, subscriptions, known);
        match instance.is_due(now_ms) {
            true => instance.last_get_ms = Some(now_ms),
            // Does not count, so that no push may follow it at once.
            false if instance.may_ask_again => {}
            false => return Err(ErrorCode::ThrottlingQuotaExceeded.into()),
        }
        instance.may_ask_again = false;
        Ok(instance.wanted.clone())
    }

    /// Whether a push is taken (PushTelemetry).
    pub fn push<'a>(
        &mut self,
        id: InstanceId,
        push: Push,
        subscriptions: &Subscriptions,
        known: impl Fn(&str) -> Cow<'a, str>,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let instance = self.instance(id, subscriptions, known);
        let refused = instance.refusal(push, now_ms);
        instance.may_ask_again = matches!(
            refused,
            Some(ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType)
        );
        // A client that goes on after its last push is refused once, then heard again.
        instance.terminating = push.terminating;
        match refused {
            Some(code) => Err(code.into()),
            None => Ok(()),
        }
    }

    /// How many clients are remembered.
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Whether no client is remembered.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    fn instance<'a>(
        &mut self,
        id: InstanceId,
        subscriptions: &Subscriptions,
        known: impl Fn(&str) -> Cow<'a, str>,
    ) -> &mut Instance {
        let version = subscriptions.version;
        let old = self.instances.remove(&id);
        if let Some(old) = &old {
            self.by_use.remove(&old.used);
        }
        while self.instances.len() >= INSTANCES_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            self.instances.remove(&oldest);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, id);
        let instance = match old {
            Some(old) if old.version == version => Instance {
                used: self.uses,
                ..old
            },
            // A change of the subscriptions begins a client anew.
            _ => Instance {
                wanted: wanted(&id, subscriptions, known),
                version,
                last_get_ms: None,
                last_push_ms: None,
                terminating: false,
                may_ask_again: false,
                used: self.uses,
            },
        };
        self.instances.entry(id).or_insert(instance)
    }
}

impl Instance {
    fn is_due(&self, now_ms: i64) -> bool {
        let last = self.last_get_ms.max(self.last_push_ms);
        last.is_none_or(|last| now_ms.saturating_sub(last) >= i64::from(self.wanted.interval_ms))
    }

    fn refusal(&mut self, push: Push, now_ms: i64) -> Option<ErrorCode> {
        if self.terminating {
            return Some(ErrorCode::InvalidRequest);
        }
        // The first push after a get may come at once: clients spread it over the interval themselves.
        let first = self.last_get_ms > self.last_push_ms;
        if !first && !self.is_due(now_ms) && !push.terminating {
            return Some(ErrorCode::ThrottlingQuotaExceeded);
        }
        self.last_push_ms = Some(now_ms);
        if push.subscription_id != self.wanted.subscription_id {
            return Some(ErrorCode::UnknownSubscriptionId);
        }
        if !(0..=4).contains(&push.codec) {
            return Some(ErrorCode::UnsupportedCompressionType);
        }
        (push.bytes > push.bytes_max).then_some(ErrorCode::TelemetryTooLarge)
    }
}

fn wanted<'a>(
    id: &InstanceId,
    subscriptions: &Subscriptions,
    known: impl Fn(&str) -> Cow<'a, str>,
) -> Wanted {
    let mut metrics: BTreeSet<&str> = BTreeSet::new();
    let mut interval_ms = INTERVAL_MS_DEFAULT;
    for subscription in &subscriptions.all {
        if subscription.clients.matches(&known) {
            metrics.extend(subscription.metrics.iter().map(|prefix| &**prefix));
            interval_ms = interval_ms.min(subscription.interval_ms);
        }
    }
    if metrics.contains("*") {
        metrics = BTreeSet::from(["*"]);
    }
    let mut seed = id.to_vec();
    for prefix in &metrics {
        seed.extend_from_slice(prefix.as_bytes());
        seed.push(0);
    }
    seed.extend_from_slice(&interval_ms.to_be_bytes());
    Wanted {
        subscription_id: i32::from_be_bytes(crc32c::crc32c(&seed).to_be_bytes()),
        interval_ms,
        metrics: metrics.into_iter().map(Into::into).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scope;

    const A: InstanceId = [1; 16];

    fn subscriptions(version: u64, interval: &'static str) -> Subscriptions {
        let pairs = [
            ("interval.ms", Some(interval)),
            ("metrics", Some("a.,b.")),
            ("match", Some("client_id=app.*")),
        ];
        let overrides = Overrides::parse(Scope::ClientMetrics, pairs).unwrap();
        Subscriptions::new(version, [&overrides])
    }

    fn app(selector: &str) -> Cow<'static, str> {
        Cow::Borrowed(if selector == "client_id" { "app-1" } else { "" })
    }

    fn push(subscription_id: i32) -> Push {
        Push {
            subscription_id,
            terminating: false,
            codec: 0,
            bytes: 10,
            bytes_max: 100,
        }
    }

    #[test]
    fn a_client_pushes_once_in_an_interval() {
        let (mut telemetry, all) = (Telemetry::default(), subscriptions(1, "1000"));
        let wanted = telemetry.get(A, &all, app, 0).unwrap();
        assert_eq!(wanted.interval_ms, 1000);
        assert_eq!(wanted.metrics, ["a.".into(), "b.".into()]);
        let mut push_at = |now_ms| {
            let push = push(wanted.subscription_id);
            telemetry
                .push(A, push, &all, app, now_ms)
                .map_err(|refusal| refusal.code)
        };
        assert_eq!(push_at(10), Ok(()));
        assert_eq!(push_at(1009), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(push_at(1010), Ok(()));
    }

    #[test]
    fn a_client_that_nobody_asks_for_metrics_pushes_none() {
        let mut telemetry = Telemetry::default();
        let all = subscriptions(1, "1000");
        let wanted = telemetry.get(A, &all, |_| Cow::Borrowed("x"), 0).unwrap();
        assert_eq!((wanted.interval_ms, wanted.metrics.len()), (300_000, 0));
    }

    #[test]
    fn after_a_change_the_old_subscription_is_unknown() {
        let mut telemetry = Telemetry::default();
        let before = telemetry.get(A, &subscriptions(1, "1000"), app, 0).unwrap();
        let all = subscriptions(2, "2000");
        let pushed = telemetry.push(A, push(before.subscription_id), &all, app, 10);
        assert_eq!(pushed.unwrap_err().code, ErrorCode::UnknownSubscriptionId);
        let after = telemetry.get(A, &all, app, 20).unwrap();
        assert_ne!(before.subscription_id, after.subscription_id);
    }

    #[test]
    fn no_more_clients_are_remembered_than_there_is_room_for() {
        let (mut telemetry, all) = (Telemetry::default(), Subscriptions::default());
        for n in 0..INSTANCES_MAX as u128 + 100 {
            telemetry.get(n.to_be_bytes(), &all, app, 0).unwrap();
        }
        assert_eq!(telemetry.len(), INSTANCES_MAX);
        assert_eq!(telemetry.by_use.len(), INSTANCES_MAX);
    }
}
