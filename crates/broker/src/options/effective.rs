//! What follows from the options: configs, addresses, logins and limits as they hold, and all that is wrong with them.

use super::{EVERYONE, Options, SUPER_USERS};
use crate::base::join::join;
use crate::base::machine::Usable;
use crate::base::start::StartError;
use crate::net::addresses::{Address, addresses};
use crate::net::bearer::Kept;
use crate::net::login_rules;
use crate::net::tls::rules::{self as tls_rules, Loaded};
use crate::net::tls::self_signed::SelfSigned;
use crate::node::{ListenerLimits, LoginRules, Protocol};
use rustka_core::config::{BrokerConfig, Scope, contradictions, danger, keys};
use rustka_core::error::Refusal;
use rustka_core::security::authorizer::AuthorizerOptions;
use rustka_core::topic_ids;

/// The id of a lone node.
const NODE_ID_DEFAULT: &str = "1";
/// What the process takes beside its limit and a tenth of that.
const OWN_BYTES: u64 = 16 << 20;
/// Memory for records does not default to less than this where there is so much.
const MEMORY_DEFAULT_MIN: u64 = 128 << 20;
/// What requests need to come and go at all.
const FRAMES_BYTES_LEAST: usize = 2 << 20;
/// What a journal keeps while it is being shortened.
const JOURNAL_BYTES_LEAST: usize = 8 << 10;
/// Bytes of all frames that are being received.
const BUFFER_BYTES: &str = "rustka.connections.buffer.bytes";
/// Part of the memory limit that these may take.
const RECEIVING_PART: usize = 4;
/// What they may take at any limit.
const RECEIVING_BYTES_LEAST: usize = 1 << 20;

impl Options {
    /// Checks the options without starting anything; the sentence names what is wrong and what would be right.
    pub fn check(&self) -> Result<(), StartError> {
        match self.mistakes().into_iter().next() {
            Some(mistake) => Err(mistake),
            None => Ok(()),
        }
    }

    /// All that is wrong with the options, as far as one mistake does not hide another.
    pub fn mistakes(&self) -> Vec<StartError> {
        let config = match self.config_with(&[]) {
            Ok(config) => config,
            Err(error) => return vec![error],
        };
        let mut mistakes: Vec<StartError> =
            contradictions(&config).into_iter().map(refused).collect();
        mistakes.extend(self.dangers(&config).map(StartError::new));
        mistakes.extend(self.check_memory_limit(&config).err());
        mistakes.extend(self.check_receiving(&config).err());
        if topic_ids::are_by_name(&config) && self.cluster_id.is_none() {
            let sentence = "rustka.topic.ids=by-name needs a cluster id that stays the same: set CLUSTER_ID in the environment";
            mistakes.push(StartError::new(sentence.to_owned()));
        }
        for (key, value) in &self.listener_configs {
            mistakes.extend(login_rules::check(key, value).err().map(StartError::new));
        }
        let addresses = self.addresses().unwrap_or_else(|wrong| {
            mistakes.extend(wrong);
            Vec::new()
        });
        for address in &addresses {
            mistakes.extend(self.login_rules(address, &config).err());
            if !self.is_made(address, &config) {
                mistakes.extend(self.tls(address, &config, None).err());
            }
        }
        #[cfg(feature = "http")]
        if self.pages.tls && !addresses.iter().any(|address| address.protocol.has_tls()) {
            mistakes.push(StartError::new(
                "pages with TLS have the certificate of a listener, and none has one: add a listener of SSL or SASL_SSL, or start with --tls-self-signed",
            ));
        }
        match self.authorizer_options(&config) {
            Ok(None) if !self.init.acls.is_empty() => mistakes.push(StartError::new(
                "ACLs are to be there, but nothing would go by them: set authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            )),
            Ok(_) => {}
            Err(error) => mistakes.push(error),
        }
        mistakes
    }

    /// What must not be ignored, and cannot be done.
    fn dangers<'a>(&'a self, config: &'a BrokerConfig) -> impl Iterator<Item = String> + 'a {
        let of_all = keys(Scope::Broker)
            .iter()
            .filter_map(|key| Some((key.name, config.set_value(key.name)?)));
        let own = (self.listener_configs.iter()).map(|(key, value)| (&**key, &**value));
        of_all
            .chain(own)
            .filter_map(|(key, value)| danger(key, value))
    }

    /// A limit has to hold at least what is kept at any limit.
    fn check_memory_limit(&self, config: &BrokerConfig) -> Result<(), StartError> {
        let journals = config.settings().offsets_partitions.unsigned_abs() as usize;
        let journals_bytes = journals.saturating_mul(JOURNAL_BYTES_LEAST);
        let least = FRAMES_BYTES_LEAST.saturating_add(journals_bytes);
        let limit = self.memory_limit_of(config).bytes;
        if self.engine.is_none() && limit < least {
            return Err(StartError::new(format!(
                "a memory limit of {limit} bytes is too small for what a broker has to keep: expected at least {least}"
            )));
        }
        Ok(())
    }

    /// How clients log in at a listener, if they have to.
    pub(crate) fn login_rules(
        &self,
        address: &Address,
        config: &BrokerConfig,
    ) -> Result<Option<(LoginRules, Option<Kept>)>, StartError> {
        let own = &self.listener_configs;
        let of = || login_rules::of(address, config, own, &self.all_users(), &self.login_file);
        let rules = address.protocol.has_login().then(of);
        rules.transpose()
    }

    /// How many connections a listener takes.
    pub(crate) fn limits(&self, listener: &str) -> ListenerLimits {
        ListenerLimits::new(listener, |key| {
            let value = self.listener_configs.get(key)?;
            value.trim().parse().ok()
        })
    }

    /// Those who may log in everywhere.
    fn all_users(&self) -> Vec<(String, String)> {
        let init = self.init.users.iter();
        let init = init.map(|user| (user.name.clone(), user.password.clone()));
        self.users.iter().cloned().chain(init).collect()
    }

    /// What is spoken around the requests at a listener, where that is TLS. Without a certificate there has to be one that
    /// was made for this start.
    pub(crate) fn tls(
        &self,
        address: &Address,
        config: &BrokerConfig,
        made: Option<&SelfSigned>,
    ) -> Result<Option<Loaded>, StartError> {
        let now_ms = self.clock.now().wall_ms;
        let own = &self.listener_configs;
        let load = || tls_rules::load(address, config, own, made, now_ms);
        address.protocol.has_tls().then(load).transpose()
    }

    /// Whether a certificate has to be made for this listener.
    fn is_made(&self, address: &Address, config: &BrokerConfig) -> bool {
        let own = &self.listener_configs;
        self.self_signed && !tls_rules::has_certificate(address, config, own)
    }

    /// What ACLs leave open, where there is an authorizer: whatever its name, it is the one that is built in.
    pub(crate) fn authorizer_options(
        &self,
        config: &BrokerConfig,
    ) -> Result<Option<AuthorizerOptions>, StartError> {
        let name = config.set_value("authorizer.class.name").unwrap_or("");
        if name.trim().is_empty() {
            return Ok(None);
        }
        let set = |key: &str| self.authorizer_configs.get(key).map_or("", String::as_str);
        let everyone = match set(EVERYONE).trim() {
            "" | "false" => false,
            "true" => true,
            other => {
                let other = other.escape_debug();
                let sentence = format!("{EVERYONE} is '{other}': expected true or false");
                return Err(StartError::new(sentence));
            }
        };
        let options = AuthorizerOptions::new(set(SUPER_USERS), everyone);
        options
            .map(Some)
            .map_err(|why| StartError::new(format!("{SUPER_USERS}: {why}")))
    }

    /// Where to listen and what to tell clients, or everything that is wrong about it.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, Vec<StartError>> {
        let protocol = match (self.all_users().is_empty(), self.self_signed) {
            (true, false) => Protocol::Plaintext,
            (true, true) => Protocol::Ssl,
            (false, false) => Protocol::SaslPlaintext,
            (false, true) => Protocol::SaslSsl,
        };
        let config = self.config_with(&[]).map_err(|error| vec![error])?;
        let mut all = addresses(&config, self.host.as_deref(), self.port, protocol)?;
        let completed = self.advertised.complete(&mut all);
        completed.map_err(|error| vec![error])?;
        Ok(all)
    }

    /// The configs `listeners` and `advertised.listeners` as they hold, whichever way they were set. What is told to
    /// each client by the way on which it comes is left out of the second.
    pub fn listening(&self) -> Result<(String, String), StartError> {
        let all = self.addresses().map_err(first)?;
        let one = |address: &Address, host: &str, port| {
            format!("{}://{}", address.name, join(host, port))
        };
        let own = all
            .iter()
            .map(|address| one(address, &address.host, address.port));
        let told = all.iter().filter_map(|address| {
            let (host, port) = address.advertised.as_ref()?;
            Some(one(address, host, *port))
        });
        Ok((
            own.collect::<Vec<_>>().join(","),
            told.collect::<Vec<_>>().join(","),
        ))
    }

    /// The configs as they were given.
    pub fn broker_config(&self) -> Result<BrokerConfig, StartError> {
        checked(self.config_with(&[])?)
    }

    fn config_with(&self, addresses: &[(&str, &str)]) -> Result<BrokerConfig, StartError> {
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(self.configs.len() + 4);
        pairs.extend(self.configs.iter().map(|(key, value)| (&**key, &**value)));
        // Either name sets both, as in Kafka.
        let given = |name: &str| pairs.iter().rev().find(|(key, _)| *key == name);
        let node_id = given("node.id").or_else(|| given("broker.id"));
        let node_id = node_id.map_or(NODE_ID_DEFAULT, |(_, value)| *value);
        pairs.extend(["node.id", "broker.id"].map(|key| (key, node_id)));
        pairs.extend_from_slice(addresses);
        let parse = |pairs: &[(&str, &str)]| {
            BrokerConfig::parse(pairs.iter().copied(), self.strict).map_err(refused)
        };
        let config = parse(&pairs)?;
        let most = self.receiving_bytes_max(&config);
        if config.is_set(BUFFER_BYTES) || config.settings().connections_buffer_bytes <= most {
            return Ok(config);
        }
        // Whoever asks for the value is told what holds.
        let most = most.to_string();
        pairs.push((BUFFER_BYTES, &most));
        parse(&pairs)
    }

    /// How much of the memory limit frames may take while they are being received.
    fn receiving_bytes_max(&self, config: &BrokerConfig) -> i64 {
        let limit = match &self.engine {
            Some(engine) => engine.memory().limit(),
            None => self.memory_limit_of(config).bytes,
        };
        let most = (limit / RECEIVING_PART).max(RECEIVING_BYTES_LEAST);
        i64::try_from(most).unwrap_or(i64::MAX)
    }

    /// Refuses a config that could not be honoured as it is set.
    fn check_receiving(&self, config: &BrokerConfig) -> Result<(), StartError> {
        let (set, most) = (
            config.settings().connections_buffer_bytes,
            self.receiving_bytes_max(config),
        );
        if set > most {
            return Err(StartError::new(format!(
                "{BUFFER_BYTES}={set} is more than a quarter of the memory limit: expected at most {most}, or a larger --memory-limit"
            )));
        }
        Ok(())
    }

    /// The configs of a broker that listens and is reached there: it says so itself, whatever else was set.
    pub(crate) fn broker_config_at(
        &self,
        listeners: &str,
        advertised: &str,
    ) -> Result<BrokerConfig, StartError> {
        let addresses = [
            ("listeners", listeners),
            ("advertised.listeners", advertised),
        ];
        checked(self.config_with(&addresses)?)
    }

    /// What was asked for, else the config `rustka.memory.limit`, else a share of what there is.
    pub(crate) fn memory_limit_of(&self, config: &BrokerConfig) -> MemoryLimit {
        let set = u64::try_from(config.settings().memory_limit_bytes).unwrap_or(0);
        let (bytes, told) = match self.memory_limit.or((set > 0).then_some(set)) {
            Some(bytes) => (bytes, "as was set".to_owned()),
            None => match self.machine.usable() {
                Some(usable) => (
                    default_limit(&usable),
                    format!("of {} MiB by {}", usable.bytes >> 20, usable.source),
                ),
                None => (
                    MEMORY_DEFAULT_MIN,
                    "since nothing tells what there is".to_owned(),
                ),
            },
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        MemoryLimit { bytes, told }
    }
}

/// The configs, if a broker can work with them.
fn checked(config: BrokerConfig) -> Result<BrokerConfig, StartError> {
    match contradictions(&config).into_iter().next() {
        Some(refusal) => Err(refused(refusal)),
        None => Ok(config),
    }
}

/// The first mistake, for whoever wants to know of one.
pub(crate) fn first(mut wrong: Vec<StartError>) -> StartError {
    wrong.swap_remove(0)
}

/// A refusal of a config as a reason not to start.
fn refused(refusal: Refusal) -> StartError {
    StartError::new(refusal.message.map_or_else(
        || refusal.code.name().to_owned(),
        |message| message.into_owned(),
    ))
}

/// How much memory a broker takes, and why so much.
pub(crate) struct MemoryLimit {
    pub bytes: usize,
    pub told: String,
}

/// A quarter of what the process may use, and no less than some; but never so much that the process could not stay below
/// what it may use, with its own needs and the holes of its heap.
fn default_limit(usable: &Usable) -> u64 {
    let possible = usable.bytes.saturating_sub(OWN_BYTES) / 11 * 10;
    let quarter = usable.bytes / 4;
    quarter.max(MEMORY_DEFAULT_MIN.min(possible))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a container of 100 MB the limit was 128 MB.
    #[test]
    fn the_default_limit_is_a_quarter_and_what_fits_where_that_is_little() {
        let of = |mib: u64| {
            let usable = Usable {
                bytes: mib << 20,
                source: String::new(),
            };
            let limit = default_limit(&usable);
            assert!(limit + limit / 10 + OWN_BYTES <= usable.bytes.max(OWN_BYTES * 3 / 2));
            limit >> 20
        };
        assert_eq!([of(8_192), of(1_024), of(512)], [2_048, 256, 128]);
        assert_eq!([of(256), of(100), of(64)], [128, 76, 43]);
    }
}
