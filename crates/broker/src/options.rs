//! What a broker can be told before it starts.

mod data_dir;
mod effective;
mod foreign;

use crate::base::clock::Clock;
use crate::base::hooks::{Authorizer, Endpoints, Hooks, Observer, QuotaMeter};
use crate::base::init::Init;
use crate::base::loggers::LogControl;
use crate::base::machine::Machine;
use crate::base::start::StartError;
use crate::broker::Broker;
#[cfg(feature = "http")]
use crate::http::PageOptions;
use crate::net::addresses::Advertised;
pub use crate::net::login_rules::LoginFile;
use crate::net::login_rules::{self, ListenerConfigs};
pub use data_dir::parse_fsync;
pub(crate) use effective::first;
use rustka_storage::Engine;
use rustka_storage::disk::Fsync;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

/// Who may do everything, with semicolons between several.
const SUPER_USERS: &str = "super.users";
/// Whether a resource without any ACL is everybody's.
const EVERYONE: &str = "allow.everyone.if.no.acl.found";
/// What Kafka's authorizer is configured by, which stands in no table of configs.
pub const APART: [&str; 2] = [SUPER_USERS, EVERYONE];

/// Threads that open partitions after a start, for each processor and at most.
const OPENERS_PER_PROCESSOR: usize = 2;
/// See above.
const OPENERS_MAX: usize = 32;

/// Options of a broker; see [`Broker::builder`].
#[derive(Clone)]
pub struct Options {
    host: Option<String>,
    port: Option<u16>,
    advertised: Advertised,
    pub(crate) http_port: Option<u16>,
    pub(crate) sockets: bool,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) machine: Machine,
    pub(crate) strict: bool,
    pub(crate) configs: Vec<(String, String)>,
    pub(crate) listener_configs: ListenerConfigs,
    authorizer_configs: BTreeMap<String, String>,
    pub(crate) users: Vec<(String, String)>,
    pub(crate) init: Init,
    login_file: LoginFile,
    pub(crate) self_signed: bool,
    pub(crate) clock: Clock,
    pub(crate) cluster_id: Option<String>,
    pub(crate) log_control: Option<Arc<dyn LogControl>>,
    pub(crate) engine: Option<Arc<dyn Engine>>,
    pub(crate) openers: usize,
    data_dir: Option<PathBuf>,
    pub(crate) fsync: Fsync,
    pub(crate) hooks: Hooks,
    #[cfg(feature = "http")]
    pub(crate) pages: PageOptions,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            host: None,
            port: None,
            advertised: Advertised::default(),
            http_port: None,
            sockets: true,
            memory_limit: None,
            machine: Machine::default(),
            strict: false,
            configs: Vec::new(),
            listener_configs: ListenerConfigs::new(),
            authorizer_configs: BTreeMap::new(),
            users: Vec::new(),
            init: Init::default(),
            login_file: LoginFile::new(),
            self_signed: false,
            clock: Clock::system(),
            cluster_id: None,
            log_control: None,
            engine: None,
            openers: openers(),
            data_dir: None,
            fsync: Fsync::default(),
            hooks: Hooks::default(),
            #[cfg(feature = "http")]
            pages: PageOptions::default(),
        }
    }
}

impl Options {
    /// Address to listen on; by default that of the config `listeners`, or loopback.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Port for Kafka clients, 0 for a free one; by default that of the config `listeners`, or 9092.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// What clients are told to connect to, as a host, where `advertised.listeners` does not say it.
    pub fn advertised_host(mut self, host: impl Into<String>) -> Self {
        self.advertised.host = Some(host.into());
        self
    }

    /// The port beside it, of the first listener; by default that on which it listens.
    pub fn advertised_port(mut self, port: u16) -> Self {
        self.advertised.port = Some(port);
        self
    }

    /// Port for health and metrics, 0 for a free one; by default 8080 or, if taken, a free one.
    pub fn http_port(mut self, port: u16) -> Self {
        self.http_port = Some(port);
        self
    }

    /// Whoever shows this token may change things by HTTP from anywhere; without it only from this machine.
    #[cfg(feature = "http")]
    pub fn http_token(mut self, token: impl Into<String>) -> Self {
        self.pages.token = Some(token.into());
        self
    }

    /// A name by which pages are served beside addresses, localhost and the advertised names; may be given many times.
    #[cfg(feature = "http")]
    pub fn http_allowed_host(mut self, host: impl Into<String>) -> Self {
        self.pages.allowed_hosts.push(host.into());
        self
    }

    /// Whether metrics are told to everybody, also on a broker with logins.
    #[cfg(feature = "http")]
    pub fn metrics_open(mut self, open: bool) -> Self {
        self.pages.metrics_open = open;
        self
    }

    /// Whether pages are served with the certificate of the first listener that has one, and not without TLS.
    #[cfg(feature = "http")]
    pub fn http_tls(mut self, tls: bool) -> Self {
        self.pages.tls = tls;
        self
    }

    /// Whether to listen at all; without, the broker is reached by [`Broker::connect`] alone. On by default.
    pub fn sockets(mut self, sockets: bool) -> Self {
        self.sockets = sockets;
        self
    }

    /// Bytes that frames and records may take; by default a quarter of what the process may use.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Kafka's own defaults and checks wherever ours differ.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Any Kafka broker config, those of single listeners (`listener.name.…`) included.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), value.into());
        if key.starts_with(login_rules::PREFIX) {
            self.listener_configs.insert(key.to_lowercase(), value);
        } else if APART.contains(&key.as_str()) {
            self.authorizer_configs.insert(key, value);
        } else {
            self.configs.push((key, value));
        }
        self
    }

    /// Somebody who may log in, by PLAIN and by SCRAM. With a user the listener that is there by default lets nobody in
    /// without a login.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// Logins of listeners that have no `sasl.jaas.config`, by the names of sections: `KafkaServer`, or one listener's
    /// `NAME.KafkaServer`.
    pub fn login_file(mut self, sections: LoginFile) -> Self {
        self.login_file = sections;
        self
    }

    /// What is to be there before the first client is served, beside what is there already. May be given many times.
    pub fn init(mut self, init: Init) -> Self {
        self.init.add(init);
        self
    }

    /// Certificates are made at the start where none are configured, and the listener that is there by default speaks
    /// TLS. What clients have to trust is told by [`Broker::authority`]; it is another one in the next life.
    pub fn tls_self_signed(mut self, self_signed: bool) -> Self {
        self.self_signed = self_signed;
        self
    }

    /// Where time comes from.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The cluster's id; random per life by default.
    pub fn cluster_id(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = Some(id.into());
        self
    }

    /// Who sets log levels when a client alters those of the broker; by default nobody can.
    pub fn log_control(mut self, control: Arc<dyn LogControl>) -> Self {
        self.log_control = Some(control);
        self
    }

    /// Who decides what clients may do; by default they may do everything.
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.hooks.authorizer = Some(authorizer);
        self
    }

    /// Who decides which clients have to wait; by default none.
    pub fn quota_meter(mut self, meter: Arc<dyn QuotaMeter>) -> Self {
        self.hooks.quota = Some(meter);
        self
    }

    /// Who decides which addresses clients are told; by default they are told that of `advertised.listeners`.
    pub fn endpoints(mut self, endpoints: Arc<dyn Endpoints>) -> Self {
        self.hooks.endpoints = Some(endpoints);
        self
    }

    /// Who is told what happens; by default nobody. May be given many times: all of them are told.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.hooks.observers.push(observer);
        self
    }

    /// What keeps the records, with its own memory and limit; files in [`Options::data_dir`] or memory of
    /// [`Options::memory_limit`] by default.
    pub fn engine(mut self, engine: Arc<dyn Engine>) -> Self {
        self.engine = Some(engine);
        self
    }

    /// On how many threads at most partitions are opened after a start, while others are served; for tests, where with
    /// none of them somebody calls [`rustka_storage::Opener::open_next`].
    pub fn openers(mut self, threads: usize) -> Self {
        self.openers = threads;
        self
    }

    /// Starts the broker, in the runtime at hand or else in one of its own.
    pub fn start(self) -> Result<Broker, StartError> {
        Broker::start(self)
    }

    /// The machine that is asked how much memory there is and whether it is short; for tests.
    pub fn machine(mut self, machine: Machine) -> Self {
        self.machine = machine;
        self
    }
}

/// Threads that open partitions: some of them wait for the disk.
fn openers() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    (processors * OPENERS_PER_PROCESSOR).min(OPENERS_MAX)
}

/// Checks a config that Kafka's table of broker configs does not have: of one listener, `listener.name.NAME.…`, or of
/// its authorizer. None for other keys; a mistake is told in a sentence without secrets.
pub fn check_apart(key: &str, value: &str) -> Option<Result<(), String>> {
    if key.starts_with(login_rules::PREFIX) {
        return Some(login_rules::check(key, value));
    }
    is_apart(key).then_some(Ok(()))
}

/// Whether this is one of [`APART`].
pub fn is_apart(key: &str) -> bool {
    APART.contains(&key)
}

/// Reads a size: bytes, or K, M, G as powers of 1024.
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 1u64 << 10),
        b'M' | b'm' => (&text[..text.len() - 1], 1 << 20),
        b'G' | b'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        assert_eq!(parse_size("123"), Some(123));
        assert_eq!(parse_size("8G"), Some(8 << 30));
        assert_eq!(parse_size("64k"), Some(64 << 10));
        assert_eq!(parse_size("1.5G"), None);
        assert_eq!(parse_size("99999999999G"), None);
        assert_eq!(parse_size(""), None);
        assert_eq!(parse_size("ü"), None);
    }
}
