//! Where the broker listens and what it tells its clients, from `listeners` and `advertised.listeners` or from a host
//! and a port given for themselves.

use crate::base::start::StartError;
use crate::node::{HostPort, Protocol};
use rustka_core::config::{BrokerConfig, listener_address};

/// Kafka's port.
pub const PORT_DEFAULT: u16 = 9092;
/// Loopback unless told otherwise: a broker without authentication is nothing for a network.
const HOST_DEFAULT: &str = "127.0.0.1";
/// All interfaces.
const HOST_ANY: &str = "0.0.0.0";

/// One listener to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its name.
    pub name: Box<str>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The address to listen on.
    pub host: String,
    /// The port to listen on, 0 for a free one.
    pub port: u16,
    /// What clients are told, where that is set.
    pub advertised: Option<HostPort>,
}

/// A host and a port that clients are told, from the keys that Kafka has no more.
#[derive(Clone, Debug, Default)]
pub struct Advertised {
    /// For every listener.
    pub host: Option<String>,
    /// For the first one.
    pub port: Option<u16>,
}

impl Advertised {
    /// Fills in what `advertised.listeners` leaves open.
    pub fn complete(&self, all: &mut [Address]) -> Result<(), StartError> {
        let Some(host) = &self.host else {
            return match self.port {
                Some(_) => Err(StartError::new(
                    "advertised.port has no host beside it: set advertised.listeners, such as PLAINTEXT://localhost:9092".to_owned(),
                )),
                None => Ok(()),
            };
        };
        check_told("advertised.host.name", host)?;
        for (at, address) in all.iter_mut().enumerate() {
            let port = self.port.filter(|_| at == 0).unwrap_or(address.port);
            address
                .advertised
                .get_or_insert_with(|| (host.as_str().into(), port));
        }
        Ok(())
    }
}

struct Named<'a> {
    name: &'a str,
    host: &'a str,
    port: u16,
}

/// The listeners for clients, in the order in which they are named. Host and port given for themselves stand before
/// those of the first one. `protocol` is spoken where nothing else is said. All mistakes are told at once.
pub fn addresses(
    config: &BrokerConfig,
    host: Option<&str>,
    port: Option<u16>,
    protocol_default: Protocol,
) -> Result<Vec<Address>, Vec<StartError>> {
    let mut wrong = Vec::new();
    let roles = config.set_value("process.roles").unwrap_or("broker");
    if !roles.split(',').any(|role| role.trim() == "broker") {
        wrong.push(StartError::new(format!(
            "process.roles is '{roles}': this is a broker, expected 'broker' or 'broker,controller'"
        )));
    }
    let controllers = config.set_value("controller.listener.names").unwrap_or("");
    let is_controller = |name: &str| controllers.split(',').any(|other| other.trim() == name);
    let protocols = Protocols::read(config, &mut wrong);
    let own = config.set_value("listeners");
    let given = parse_all("listeners", own, &mut wrong);
    let told = told_of(config.set_value("advertised.listeners"), &mut wrong);
    wrong.extend(unserved(own.unwrap_or(""), &told));
    // What clients are told says nothing about where to listen: an address may lead here by way of others.
    let is_given = own.is_some_and(|list| items(list).next().is_some());
    let (key, meant) = match is_given {
        true => ("listeners", &given),
        false => ("advertised.listeners", &told),
    };
    let is_one = meant.len() == 1;
    let mut served: Vec<Address> = Vec::new();
    for listener in meant.iter().filter(|one| !is_controller(one.name)) {
        let Some(protocol) = protocols.of(key, listener.name, &mut wrong) else {
            continue;
        };
        let (host, port) = match (is_given, listener.host) {
            (true, "") => (HOST_ANY, listener.port),
            (true, host) => (host, listener.port),
            (false, _) if is_one => (HOST_DEFAULT, PORT_DEFAULT),
            (false, _) => (HOST_DEFAULT, listener.port),
        };
        served.push(Address {
            name: listener.name.into(),
            protocol,
            host: host.to_owned(),
            port,
            advertised: None,
        });
    }
    if wrong.is_empty() && served.is_empty() && is_given {
        wrong.push(StartError::new(
            "listeners has none for clients: add one, such as PLAINTEXT://:9092",
        ));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    if served.is_empty() {
        served.push(default_address(protocol_default));
    }
    for address in &mut served {
        let told = told.iter().find(|told| *told.name == *address.name);
        address.advertised = told.map(|told| (told.host.into(), told.port));
    }
    // Whoever says where to listen, and no more, means every listener.
    let meant = match is_given {
        false => served.len(),
        true => 1,
    };
    for address in &mut served[..meant] {
        address.host = host.unwrap_or(&address.host).to_owned();
    }
    let first = &mut served[0];
    first.port = port.unwrap_or(first.port);
    Ok(served)
}

fn default_address(protocol: Protocol) -> Address {
    Address {
        name: protocol.name().into(),
        protocol,
        host: HOST_DEFAULT.to_owned(),
        port: PORT_DEFAULT,
        advertised: None,
    }
}

/// What is told of listeners that there are not. Of one whose own entry is wrong that is said already.
fn unserved(listeners: &str, told: &[Named<'_>]) -> Vec<StartError> {
    let names: Option<Vec<&str>> = items(listeners)
        .map(|item| Some(item.split_once("://")?.0))
        .collect();
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return Vec::new();
    };
    let unknown = told.iter().filter(|told| !names.contains(&told.name));
    let sentences = unknown.map(|told| {
        StartError::new(format!(
            "advertised.listeners has the name {}, which listeners has not: there are {}",
            told.name,
            names.join(", ")
        ))
    });
    sentences.collect()
}

fn told_of<'a>(value: Option<&'a str>, wrong: &mut Vec<StartError>) -> Vec<Named<'a>> {
    let told = parse_all("advertised.listeners", value, wrong);
    for one in &told {
        wrong.extend(check_told("advertised.listeners", one.host).err());
    }
    told
}

/// Refuses what leads nowhere.
fn check_told(key: &str, host: &str) -> Result<(), StartError> {
    match host {
        "" | "0.0.0.0" | "::" => Err(StartError::new(format!(
            "{key} tells clients to connect to '{host}': expected an address that they can reach"
        ))),
        _ => Ok(()),
    }
}

/// What `listener.security.protocol.map` says; none for an entry that names no protocol.
struct Protocols<'a>(Vec<(&'a str, Option<Protocol>)>);

impl<'a> Protocols<'a> {
    /// Reads all entries, and tells of each that is none.
    fn read(config: &'a BrokerConfig, wrong: &mut Vec<StartError>) -> Protocols<'a> {
        let key = "listener.security.protocol.map";
        let mut entries = Vec::new();
        for item in items(config.value(key).unwrap_or("")) {
            let Some((listener, name)) = item.split_once(':') else {
                wrong.push(StartError::new(format!(
                    "Invalid value '{}' for config '{key}': expected a list of NAME:PROTOCOL, such as OUTSIDE:SASL_SSL",
                    item.escape_debug()
                )));
                continue;
            };
            let (listener, name) = (listener.trim(), name.trim());
            let protocol = Protocol::named(name);
            if protocol.is_none() {
                wrong.push(StartError::new(format!(
                    "{key} gives listener {} the protocol {}: expected one of {}",
                    listener.escape_debug(),
                    name.escape_debug(),
                    known_protocols()
                )));
            }
            entries.push((listener, protocol));
        }
        Protocols(entries)
    }

    /// The protocol of a listener that `key` has; without an entry in the map its name is one.
    fn of(&self, key: &str, name: &str, wrong: &mut Vec<StartError>) -> Option<Protocol> {
        let mut entries = self.0.iter();
        if let Some((_, protocol)) = entries.find(|(listener, _)| *listener == name) {
            return *protocol;
        }
        let protocol = Protocol::named(name);
        if protocol.is_none() {
            wrong.push(StartError::new(format!(
                "{key} has listener {name} without a protocol: add {name}:PLAINTEXT or another of {} to listener.security.protocol.map",
                known_protocols()
            )));
        }
        protocol
    }
}

fn known_protocols() -> String {
    Protocol::ALL.map(Protocol::name).join(", ")
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// The entries that make sense; of each other one is told what is wrong with it.
fn parse_all<'a>(key: &str, list: Option<&'a str>, wrong: &mut Vec<StartError>) -> Vec<Named<'a>> {
    let mut listeners: Vec<Named<'a>> = Vec::new();
    for item in items(list.unwrap_or("")) {
        let Some((name, host, port)) = listener_address(item) else {
            wrong.push(StartError::new(format!(
                "Invalid value '{}' for config '{key}': expected a list of NAME://HOST:PORT, such as PLAINTEXT://127.0.0.1:9092",
                item.escape_debug()
            )));
            continue;
        };
        if listeners.iter().any(|other| other.name == name) {
            wrong.push(StartError::new(format!(
                "config '{key}' has the name {name} twice: each listener needs one of its own"
            )));
            continue;
        }
        listeners.push(Named { name, host, port });
    }
    listeners
}

#[cfg(test)]
mod tests;
