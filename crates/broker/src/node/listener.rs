//! A place where clients come in: how they log in there, and what they are told about this node.

use crate::base::rate::PerSecond;
use crate::node::{Bearer, Peer, Tls};
use rustka_core::config::BrokerConfig;
use rustka_core::security::plain::Passwords;
use rustka_core::security::sasl::Mechanism;
use rustka_core::sync::{Rank, read_at, write_at};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, RwLock};

/// What is spoken at a listener before and around Kafka's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing.
    Plaintext,
    /// TLS.
    Ssl,
    /// A login.
    SaslPlaintext,
    /// A login within TLS.
    SaslSsl,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 4] = [
        Protocol::Plaintext,
        Protocol::Ssl,
        Protocol::SaslPlaintext,
        Protocol::SaslSsl,
    ];

    /// Its name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Plaintext => "PLAINTEXT",
            Protocol::Ssl => "SSL",
            Protocol::SaslPlaintext => "SASL_PLAINTEXT",
            Protocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of this name, in capitals or not.
    pub fn named(name: &str) -> Option<Protocol> {
        Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Whether clients have to log in.
    pub fn has_login(self) -> bool {
        matches!(self, Protocol::SaslPlaintext | Protocol::SaslSsl)
    }

    /// Whether what is sent is encrypted.
    pub fn has_tls(self) -> bool {
        matches!(self, Protocol::Ssl | Protocol::SaslSsl)
    }
}

/// How clients log in at a listener.
#[derive(Clone, Debug)]
pub struct LoginRules {
    /// The ways that are open.
    pub mechanisms: Vec<Mechanism>,
    /// Who may log in by PLAIN.
    pub passwords: Passwords,
    /// How long a login holds before it has to be repeated (KIP-368); 0: for ever.
    pub session_ms_max: i64,
    /// How long a failed login waits for its answer.
    pub failure_delay_ms: i64,
    /// Bytes of one message of a login.
    pub message_bytes_max: usize,
    /// How tokens are checked, where they are taken.
    pub bearer: Option<Arc<Bearer>>,
}

/// How many connections a listener takes, beside what all of them take together (`listener.name.NAME.max.connections` and
/// `….max.connection.creation.rate`). Both may be changed while the broker runs.
pub struct ListenerLimits {
    connections: Limit,
    creations: Limit,
    /// Connections that are open here.
    pub open: AtomicUsize,
    /// Those that came in this second.
    pub created: PerSecond,
}

/// One number and its key.
struct Limit {
    key: String,
    fixed: Option<i32>,
}

impl Limit {
    /// What holds now; none where nothing is set for this listener.
    fn now(&self, config: &BrokerConfig) -> Option<i32> {
        let set = config.set_value(&self.key);
        set.and_then(|value| value.trim().parse().ok())
            .or(self.fixed)
    }
}

impl ListenerLimits {
    /// Those of a listener, with what was set at the start for each key.
    pub fn new(listener: &str, set: impl Fn(&str) -> Option<i32>) -> ListenerLimits {
        let listener = listener.to_lowercase();
        let limit = |key: &str| {
            let key = format!("listener.name.{listener}.{key}");
            Limit {
                fixed: set(&key),
                key,
            }
        };
        ListenerLimits {
            connections: limit("max.connections"),
            creations: limit("max.connection.creation.rate"),
            open: AtomicUsize::new(0),
            created: PerSecond::default(),
        }
    }

    /// Whether there is room for one more.
    pub fn have_room(&self, config: &BrokerConfig) -> bool {
        let max = self.connections.now(config);
        max.is_none_or(|max| usize::try_from(max).is_ok_and(|max| self.open.load(Relaxed) < max))
    }

    /// Counts a connection in this second, or says when the next one begins.
    pub fn creates(&self, config: &BrokerConfig, now_ms: i64) -> Result<(), i64> {
        match self.creations.now(config) {
            Some(rate) => self.created.take(rate, now_ms),
            None => Ok(()),
        }
    }
}

/// Host and port.
pub type HostPort = (Box<str>, u16);

/// One listener, and the node that clients see through it.
pub struct Listener {
    /// As in `listeners`.
    pub name: Box<str>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The id of the node that its clients meet.
    pub node_id: i32,
    /// The port that was bound.
    pub port: u16,
    /// How clients log in, where they have to.
    pub login: Option<LoginRules>,
    /// Its certificate, where what is sent is encrypted.
    pub tls: Option<Tls>,
    /// How many connections it takes.
    pub limits: ListenerLimits,
    /// What clients are told, as it was set at the start.
    advertised_first: Option<HostPort>,
    /// What has taken its place.
    advertised: RwLock<Option<HostPort>>,
}

impl Listener {
    /// A listener whose clients are told this address, or one that fits each of them.
    pub fn new(
        name: &str,
        protocol: Protocol,
        node_id: i32,
        port: u16,
        advertised: Option<HostPort>,
    ) -> Listener {
        Listener {
            name: name.into(),
            protocol,
            node_id,
            port,
            login: None,
            tls: None,
            limits: ListenerLimits::new(name, |_| None),
            advertised_first: advertised,
            advertised: RwLock::default(),
        }
    }

    /// Changes what clients are told from now on, or has them told again what was set at the start.
    pub fn advertise(&self, advertised: Option<HostPort>) {
        *write_at(Rank::Leaf, &self.advertised) = advertised;
    }

    /// What clients are told, where it was set. A port of 0 stands for the one that was bound.
    pub fn advertised(&self) -> Option<HostPort> {
        let own = read_at(Rank::Leaf, &self.advertised);
        let told = own.clone().or_else(|| self.advertised_first.clone());
        told.map(|(host, port)| match port {
            0 => (host, self.port),
            port => (host, port),
        })
    }

    /// Where this client is told to connect: what was set, or else an address at which it has just reached us.
    pub fn told(&self, peer: &Peer) -> HostPort {
        if let Some(advertised) = self.advertised() {
            return advertised;
        }
        match peer.local {
            Some(local) if !peer.address.ip().to_canonical().is_loopback() => {
                (local.ip().to_canonical().to_string().into(), local.port())
            }
            _ => ("localhost".into(), self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_what_was_set_or_where_it_has_reached_us() {
        let listener = Listener::new("L", Protocol::Plaintext, 1, 9094, None);
        let peer = |ip: &str, local: Option<&str>| {
            let address = std::net::SocketAddr::new(ip.parse().unwrap(), 50_000);
            let local = local.map(|local| local.parse().unwrap());
            Peer::new(1, address, local, 0)
        };
        let told = |ip, local| {
            let (host, port) = listener.told(&peer(ip, local));
            format!("{host} {port}")
        };
        assert_eq!(told("127.0.0.1", Some("127.0.0.1:9094")), "localhost 9094");
        assert_eq!(told("::1", None), "localhost 9094");
        assert_eq!(told("10.0.0.9", Some("10.0.0.1:9094")), "10.0.0.1 9094");
        assert_eq!(
            told("::ffff:10.0.0.9", Some("[::ffff:10.0.0.1]:9094")),
            "10.0.0.1 9094"
        );
        assert_eq!(told("fd00::9", Some("[fd00::1]:9094")), "fd00::1 9094");
        listener.advertise(Some(("kafka".into(), 29_092)));
        assert_eq!(told("10.0.0.9", Some("10.0.0.1:9094")), "kafka 29092");
        listener.advertise(Some(("kafka".into(), 0)));
        assert_eq!(told("127.0.0.1", None), "kafka 9094");
    }
}
