//! Clients that were told where to connect and never came: mostly because they cannot reach the advertised address, which
//! nothing else here notices. Each is named once, with what to change.
//!
//! Whoever asks for metadata and then only for what any connection is asked has not come yet. The first other request from
//! there, by the same name, says that all is well. Clients that have nothing to do look much the same: so most have to ask
//! again and again before they are missed, as those do that try to connect and cannot.

use super::{HostPort, Listener, Peer};
use crate::base::hooks::Software;
use crate::base::join::join;
use rustka_core::sync::{Guard, lock};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::describe_cluster_request::DescribeClusterRequest;
use rustka_wire::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::push_telemetry_request::PushTelemetryRequest;
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

/// A client has this long to come to where it was told to.
const COMES_WITHIN_MS: i64 = 10_000;
/// What a client asks is counted for so long, and then anew.
const WINDOW_MS: i64 = 60_000;
/// A client is missed after asking so often: while it is connected, or, since health checks come and go, within
/// [`COMES_WITHIN_MS`].
const ASKS_MIN: u32 = 5;
/// Kafka's own client asks for metadata only when it has something to do.
const ASKS_ONCE: &str = "apache-kafka-java";
/// Clients that are remembered; of more the oldest are forgotten.
const CASES_MAX: usize = 1_000;
/// After so long without a word a client is forgotten.
const FORGOTTEN_MS: i64 = 3_600_000;

/// What comes over the first connection of a client, wherever that leads.
const ANYWHERE: [i16; 10] = [
    ApiVersionsRequest::KEY,
    MetadataRequest::KEY,
    FindCoordinatorRequest::KEY,
    DescribeClusterRequest::KEY,
    DescribeTopicPartitionsRequest::KEY,
    InitProducerIdRequest::KEY,
    SaslHandshakeRequest::KEY,
    SaslAuthenticateRequest::KEY,
    GetTelemetrySubscriptionsRequest::KEY,
    PushTelemetryRequest::KEY,
];

/// Who: an address, and the name by which somebody there calls themselves.
type Who = (IpAddr, Arc<str>);

/// All clients that were told something lately.
#[derive(Default)]
pub struct Doctor(Mutex<BTreeMap<Who, Case>>);

struct Case {
    first_ms: i64,
    last_ms: i64,
    /// How often it asked for metadata since `first_ms`.
    asks: u32,
    /// How often of these before [`COMES_WITHIN_MS`] were over.
    asks_soon: u32,
    /// The connection and the request that asked last: one request may be told many addresses.
    last: (u64, u64),
    /// Whether it has come, for which it is never named again.
    came: bool,
    /// Whether it has been missed.
    missed: bool,
    told: HostPort,
    listener: Box<str>,
    reached: Option<SocketAddr>,
    software: Option<Arc<Software>>,
}

/// A client that has not come.
#[derive(Clone, Debug)]
pub struct Stray {
    /// From where it asked.
    pub address: IpAddr,
    /// Its name for itself.
    pub client_id: Arc<str>,
    /// What it is, where it said so.
    pub software: Option<Arc<Software>>,
    /// At which listener.
    pub listener: Box<str>,
    /// Where it was told to connect, as `host:port`.
    pub told: String,
    /// Where it has reached this broker.
    pub reached: Option<SocketAddr>,
    /// How long ago it was told first.
    pub since_ms: i64,
    /// What to set.
    pub advice: String,
}

impl std::fmt::Display for Stray {
    /// A sentence for the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.client_id.escape_debug();
        let software = self.software.as_ref().map_or_else(String::new, |software| {
            let (name, version) = (&software.name, &software.version);
            format!(" ({} {})", name.escape_debug(), version.escape_debug())
        });
        write!(
            f,
            "client '{name}'{software} at {} was told by listener {} to connect to {}, and has not come for {} seconds: if it cannot reach that address, {}",
            self.address,
            self.listener,
            self.told,
            self.since_ms / 1_000,
            self.advice
        )
    }
}

impl Doctor {
    fn lock(&self) -> Guard<'_, BTreeMap<Who, Case>> {
        lock(&self.0)
    }

    /// Whether this request shows that its client has come; to be told by [`Doctor::came`] once per connection.
    pub fn is_work(api: i16) -> bool {
        !ANYWHERE.contains(&api)
    }

    /// A client is told where to connect.
    pub fn told(&self, peer: &Peer, listener: &Listener, told: &HostPort, now_ms: i64) {
        if peer.is_own || peer.has_come() {
            return;
        }
        if peer.last_api() != MetadataRequest::KEY {
            return;
        }
        let who = (peer.address.ip(), peer.client_id());
        let software = peer.software();
        let last = (peer.id, peer.requests());
        let mut cases = self.lock();
        if let Some(case) = cases.get_mut(&who) {
            if case.last != last {
                case.asks(now_ms);
            }
            case.last = last;
            case.told = told.clone();
            return;
        }
        if cases.len() >= CASES_MAX {
            let oldest = cases.iter().min_by_key(|(_, case)| case.last_ms);
            if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
                cases.remove(&oldest);
            }
        }
        let case = Case {
            first_ms: now_ms,
            last_ms: now_ms,
            asks: 1,
            asks_soon: 1,
            last,
            came: false,
            missed: false,
            told: told.clone(),
            listener: listener.name.clone(),
            reached: peer.local,
            software,
        };
        cases.insert(who, case);
    }

    /// A client asks for something for which it has to have come.
    pub fn came(&self, peer: &Peer) {
        peer.comes();
        let who = (peer.address.ip(), peer.client_id());
        if let Some(case) = self.lock().get_mut(&who) {
            case.came = true;
            case.missed = false;
        }
    }

    /// Those who are missed from now on. `peers` are all connections that are open.
    pub fn newly_missed(&self, peers: impl Fn() -> Vec<Arc<Peer>>, now_ms: i64) -> Vec<Stray> {
        let is_late = |case: &Case| {
            !case.came && !case.missed && now_ms.saturating_sub(case.first_ms) >= COMES_WITHIN_MS
        };
        let any_is_late = {
            let mut cases = self.lock();
            cases.retain(|_, case| now_ms.saturating_sub(case.last_ms) < FORGOTTEN_MS);
            cases.values().any(is_late)
        };
        if !any_is_late {
            return Vec::new();
        }
        let mut open: BTreeMap<Who, bool> = BTreeMap::new();
        for peer in peers() {
            let who = (peer.address.ip(), peer.client_id());
            *open.entry(who).or_default() |= peer.has_come();
        }
        let mut cases = self.lock();
        let mut missed = Vec::new();
        for (who, case) in cases.iter_mut().filter(|(_, case)| is_late(case)) {
            match open.get(who) {
                Some(true) => case.came = true,
                is_open => case.missed = case.is_missed(is_open.is_some()),
            }
            if case.missed {
                missed.push(case.stray(who, now_ms));
            }
        }
        missed
    }

    /// Those who are missed.
    pub fn strays(&self, now_ms: i64) -> Vec<Stray> {
        let cases = self.lock();
        let missed = cases.iter().filter(|(_, case)| case.missed);
        missed.map(|(who, case)| case.stray(who, now_ms)).collect()
    }
}

impl Case {
    /// It asks once more.
    fn asks(&mut self, now_ms: i64) {
        if now_ms.saturating_sub(self.first_ms) >= WINDOW_MS && !self.missed {
            self.first_ms = now_ms;
            (self.asks, self.asks_soon) = (0, 0);
        }
        self.last_ms = now_ms;
        self.asks = self.asks.saturating_add(1);
        if now_ms.saturating_sub(self.first_ms) < COMES_WITHIN_MS {
            self.asks_soon = self.asks;
        }
    }

    /// Whether it asked so often that it has tried to come. Asked once it is late.
    fn is_missed(&self, is_open: bool) -> bool {
        let name = self.software.as_ref().map_or("", |software| &software.name);
        let asks_min = if name == ASKS_ONCE { 1 } else { ASKS_MIN };
        is_open && self.asks >= asks_min || self.asks_soon >= ASKS_MIN
    }

    fn stray(&self, who: &Who, now_ms: i64) -> Stray {
        let (host, port) = &self.told;
        let reached = self.reached.map(|at| {
            let ip = at.ip().to_canonical().to_string();
            format!(" (it has come by {})", join(&ip, at.port()))
        });
        Stray {
            address: who.0.to_canonical(),
            client_id: who.1.clone(),
            software: self.software.clone(),
            listener: self.listener.clone(),
            told: join(host, *port),
            reached: self.reached,
            since_ms: now_ms.saturating_sub(self.first_ms),
            advice: format!(
                "set advertised.listeners={}://HOST:PORT to one that it can reach{}; of a container with a mapped port that is the port outside",
                self.listener,
                reached.unwrap_or_default(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Protocol;
    use super::*;

    struct Scene {
        doctor: Doctor,
        listener: Listener,
    }

    impl Scene {
        fn new() -> Scene {
            Scene {
                doctor: Doctor::default(),
                listener: Listener::new("OUTSIDE", Protocol::Plaintext, 1, 9092, None),
            }
        }

        /// Asks for metadata, which tells two addresses.
        fn ask(&self, peer: &Peer, now_ms: i64) {
            peer.asks(MetadataRequest::KEY, 10);
            for _ in 0..2 {
                let told = ("kafka".into(), 29_092);
                self.doctor.told(peer, &self.listener, &told, now_ms);
            }
        }

        fn missed(&self, open: &[&Arc<Peer>], now_ms: i64) -> usize {
            let open = || open.iter().map(|peer| (*peer).clone()).collect();
            self.doctor.newly_missed(open, now_ms).len()
        }
    }

    fn peer(id: u64, name: &str) -> Arc<Peer> {
        let local = "172.17.0.2:9092".parse().unwrap();
        let peer = Peer::new(id, ([10, 0, 0, 9], 50_000).into(), Some(local), 0);
        peer.is_called(&name.into());
        peer
    }

    #[test]
    fn whoever_was_told_and_stays_where_it_is_gets_one_line() {
        let scene = Scene::new();
        let lost = peer(1, "shop");
        for at in [0, 2_000, 4_000, 6_000, 8_000] {
            scene.ask(&lost, at);
        }
        assert_eq!(scene.missed(&[&lost], 9_999), 0);
        let open = || vec![lost.clone()];
        let strays = scene.doctor.newly_missed(open, 10_000);
        let sentence = strays[0].to_string();
        for told in [
            "client 'shop' at 10.0.0.9 was told by listener OUTSIDE to connect to kafka:29092",
            "for 10 seconds",
            "set advertised.listeners=OUTSIDE://HOST:PORT",
            "it has come by 172.17.0.2:9092",
        ] {
            assert!(sentence.contains(told), "{sentence}");
        }
        assert_eq!(scene.missed(&[&lost], 60_000), 0, "one line");
        assert_eq!(scene.doctor.strays(60_000).len(), 1);
        scene.doctor.came(&peer(2, "shop"));
        assert_eq!(scene.doctor.strays(60_000).len(), 0);
        for at in 0..5 {
            scene.ask(&lost, 70_000 + at);
        }
        assert_eq!(
            scene.missed(&[&lost], 99_000),
            0,
            "it has shown that it can"
        );
    }

    #[test]
    fn whoever_has_come_by_another_connection_is_not_missed() {
        let scene = Scene::new();
        let (first, second) = (peer(1, "shop"), peer(2, "shop"));
        scene.doctor.came(&second);
        for at in 0..5 {
            scene.ask(&first, at);
        }
        assert_eq!(scene.missed(&[&first, &second], 20_000), 0);
        scene.ask(&first, 30_000);
        assert_eq!(scene.missed(&[&first], 50_000), 0);
    }

    #[test]
    fn whoever_only_looks_and_leaves_is_not_missed_but_whoever_tries_again_and_again_is() {
        let scene = Scene::new();
        for at in 0..10 {
            let now_ms = at * 3_000;
            scene.ask(&peer(at as u64, "health check"), now_ms);
            assert_eq!(scene.missed(&[], now_ms), 0);
        }
        for at in 0..5 {
            scene.ask(&peer(at as u64, "shop"), at * 1_000);
        }
        assert_eq!(scene.missed(&[], 40_000), 1);
    }

    // A producer of librdkafka connects anew for each question, as it did against an address that refused it, one that
    // swallowed its packets and a name that nobody knows.
    #[test]
    fn a_producer_that_connects_anew_each_two_seconds_is_named_at_the_first_look() {
        let scene = Scene::new();
        for (id, at_ms) in [0, 1_000, 3_000, 5_000, 7_000, 9_000]
            .into_iter()
            .enumerate()
        {
            scene.ask(&peer(id as u64, "busy"), at_ms);
            assert_eq!(scene.missed(&[], at_ms), 0);
        }
        assert_eq!(scene.missed(&[], 10_000), 1);
        // On a machine with much to do it asks less often, and is there at one of the looks.
        for at in 0..6 {
            let slow = peer(100 + at as u64, "slow");
            scene.ask(&slow, 20_000 + at * 4_000);
            assert_eq!(
                scene.missed(&[&slow], 20_000 + at * 4_000),
                usize::from(at == 4)
            );
        }
    }

    // Producers that had nothing to write yet were named in the log.
    #[test]
    fn whoever_has_nothing_to_do_is_left_alone_but_for_clients_that_ask_only_when_they_have() {
        let scene = Scene::new();
        let (idle, java) = (peer(1, "idle"), peer(2, "java"));
        java.introduce(Software {
            name: ASKS_ONCE.into(),
            version: "4.4.0".into(),
        });
        scene.ask(&idle, 0);
        scene.ask(&java, 0);
        assert_eq!(scene.missed(&[&idle, &java], 60_000), 1);
        assert_eq!(&*scene.doctor.strays(60_000)[0].client_id, "java");
        // Metadata is asked for again now and then.
        for at in 1..100 {
            scene.ask(&idle, at * 300_000);
            assert_eq!(scene.missed(&[&idle], at * 300_000 + 20_000), 0);
        }
    }

    #[test]
    fn only_so_many_clients_are_remembered_and_those_that_are_silent_are_forgotten() {
        let scene = Scene::new();
        for id in 0..2 * CASES_MAX as u64 {
            scene.ask(&peer(id, &format!("c{id}")), id as i64);
        }
        assert_eq!(scene.doctor.lock().len(), CASES_MAX);
        assert_eq!(scene.missed(&[], 2 * FORGOTTEN_MS), 0);
        assert_eq!(scene.doctor.lock().len(), 0);
    }
}
