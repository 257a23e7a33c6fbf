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
/// those of the first one. `protocol` is spoken where nothing else is said.
pub fn addresses(
    config: &BrokerConfig,
    host: Option<&str>,
    port: Option<u16>,
    protocol_default: Protocol,
) -> Result<Vec<Address>, StartError> {
    let roles = config.set_value("process.roles").unwrap_or("broker");
    if !roles.split(',').any(|role| role.trim() == "broker") {
        return Err(StartError::new(format!(
            "process.roles is '{roles}': this is a broker, expected 'broker' or 'broker,controller'"
        )));
    }
    let controllers = config.set_value("controller.listener.names").unwrap_or("");
    let is_controller = |name: &str| controllers.split(',').any(|other| other.trim() == name);
    let given = parse_all("listeners", config.set_value("listeners"))?;
    let told = told_of(config.set_value("advertised.listeners"))?;
    if let Some(unknown) = told
        .iter()
        .find(|told| !given.is_empty() && given.iter().all(|one| one.name != told.name))
    {
        let names: Vec<&str> = given.iter().map(|listener| listener.name).collect();
        return Err(StartError::new(format!(
            "advertised.listeners has the name {}, which listeners has not: there are {}",
            unknown.name,
            names.join(", ")
        )));
    }
    let mut served: Vec<Address> = Vec::new();
    for listener in given.iter().filter(|one| !is_controller(one.name)) {
        served.push(Address {
            name: listener.name.into(),
            protocol: protocol(config, listener.name)?,
            host: match listener.host {
                "" => HOST_ANY,
                host => host,
            }
            .to_owned(),
            port: listener.port,
            advertised: None,
        });
    }
    // What clients are told says nothing about where to listen: an address may lead here by way of others.
    if given.is_empty() {
        let is_one = told.len() == 1;
        for listener in told.iter().filter(|one| !is_controller(one.name)) {
            served.push(Address {
                name: listener.name.into(),
                protocol: protocol(config, listener.name)?,
                host: HOST_DEFAULT.to_owned(),
                port: if is_one { PORT_DEFAULT } else { listener.port },
                advertised: None,
            });
        }
    }
    if served.is_empty() && !given.is_empty() {
        return Err(StartError::new(
            "listeners has none for clients: add one, such as PLAINTEXT://:9092".to_owned(),
        ));
    }
    if served.is_empty() {
        served.push(default_address(protocol_default));
    }
    for address in &mut served {
        let told = told.iter().find(|told| *told.name == *address.name);
        address.advertised = told.map(|told| (told.host.into(), told.port));
    }
    // Whoever says where to listen, and no more, means every listener.
    let meant = match given.is_empty() {
        true => served.len(),
        false => 1,
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

fn told_of(value: Option<&str>) -> Result<Vec<Named<'_>>, StartError> {
    let told = parse_all("advertised.listeners", value)?;
    for one in &told {
        check_told("advertised.listeners", one.host)?;
    }
    Ok(told)
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

/// A listener's protocol; without an entry in the map its name is one.
fn protocol(config: &BrokerConfig, name: &str) -> Result<Protocol, StartError> {
    let map = config.value("listener.security.protocol.map").unwrap_or("");
    let mut entries = map.split(',').filter_map(|entry| entry.split_once(':'));
    let found = entries.find(|(listener, _)| listener.trim() == name);
    let protocol = found.map_or(name, |(_, protocol)| protocol.trim());
    Protocol::named(protocol).ok_or_else(|| {
        let known = Protocol::ALL.map(Protocol::name).join(", ");
        StartError::new(match found {
            Some(_) => format!(
                "listener.security.protocol.map gives listener {name} the protocol {protocol}: expected one of {known}"
            ),
            None => format!(
                "listener {name} has no protocol: add {name}:PLAINTEXT or another of {known} to listener.security.protocol.map"
            ),
        })
    })
}

fn parse_all<'a>(key: &str, list: Option<&'a str>) -> Result<Vec<Named<'a>>, StartError> {
    let items = list.unwrap_or("").split(',').map(str::trim);
    let listeners = items.filter(|item| !item.is_empty()).map(|item| {
        let named = listener_address(item).map(|(name, host, port)| Named { name, host, port });
        named.ok_or_else(|| {
            StartError::new(format!(
                "Invalid value '{}' for config '{key}': expected a list of NAME://HOST:PORT, such as PLAINTEXT://127.0.0.1:9092",
                item.escape_debug()
            ))
        })
    });
    let listeners: Vec<_> = listeners.collect::<Result<_, _>>()?;
    for (at, listener) in listeners.iter().enumerate() {
        if listeners[..at]
            .iter()
            .any(|other| other.name == listener.name)
        {
            return Err(StartError::new(format!(
                "config '{key}' has the name {} twice: each listener needs one of its own",
                listener.name
            )));
        }
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Vec<Address>, String> {
        let config = BrokerConfig::new(pairs.iter().copied(), false).unwrap();
        addresses(&config, None, None, Protocol::Plaintext).map_err(|error| error.to_string())
    }

    fn told(address: &Address) -> Option<(&str, u16)> {
        let advertised = address.advertised.as_ref();
        advertised.map(|(host, port)| (&**host, *port))
    }

    #[test]
    fn without_listeners_it_is_kafkas_port_on_loopback() {
        let address = &of(&[]).unwrap()[0];
        assert_eq!((&*address.host, address.port), ("127.0.0.1", 9092));
        assert_eq!((&*address.name, &address.advertised), ("PLAINTEXT", &None));
        let config = BrokerConfig::new([], false).unwrap();
        let guarded = &addresses(&config, None, None, Protocol::SaslPlaintext).unwrap()[0];
        assert_eq!(guarded.protocol, Protocol::SaslPlaintext);
    }

    #[test]
    fn every_listener_for_clients_is_served_under_its_own_advertised_address() {
        let all = of(&[
            (
                "listeners",
                "CONTROLLER://0.0.0.0:29093,EXTERNAL://:9094,INTERNAL://0.0.0.0:9093",
            ),
            (
                "advertised.listeners",
                "INTERNAL://kafka:9093,EXTERNAL://localhost:9094",
            ),
            ("controller.listener.names", "CONTROLLER"),
            (
                "listener.security.protocol.map",
                "CONTROLLER:PLAINTEXT,EXTERNAL:SASL_PLAINTEXT,INTERNAL:PLAINTEXT",
            ),
        ])
        .unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((&*all[0].host, all[0].port), ("0.0.0.0", 9094));
        assert_eq!(told(&all[0]), Some(("localhost", 9094)));
        assert_eq!(all[0].protocol, Protocol::SaslPlaintext);
        assert_eq!(
            (&*all[1].name, told(&all[1])),
            ("INTERNAL", Some(("kafka", 9093)))
        );
    }

    #[test]
    fn a_host_that_is_told_by_itself_fills_in_what_is_left_open() {
        let advertised = Advertised {
            host: Some("box".to_owned()),
            port: Some(19_092),
        };
        let mut all = of(&[
            (
                "listeners",
                "PLAINTEXT://:9092,SSL://:9093,SASL_SSL://:9094",
            ),
            ("advertised.listeners", "SASL_SSL://kafka:29094"),
        ])
        .unwrap();
        advertised.complete(&mut all).unwrap();
        let told: Vec<_> = all.iter().filter_map(told).collect();
        assert_eq!(told, [("box", 19_092), ("box", 9093), ("kafka", 29_094)]);
        let no_host = Advertised {
            host: None,
            port: Some(1),
        };
        assert!(no_host.complete(&mut all).is_err());
    }

    // A developer told clients 127.0.0.1, and the broker served the whole network, its HTTP port too.
    #[test]
    fn what_clients_are_told_opens_no_door_to_the_network() {
        for host in ["127.0.0.1", "box"] {
            let value = format!("PLAINTEXT://{host}:19092");
            let all = of(&[("advertised.listeners", &value)]).unwrap();
            assert_eq!((&*all[0].host, all[0].port), ("127.0.0.1", 9092));
            assert_eq!(told(&all[0]), Some((host, 19092)));
        }
        let two = "PLAINTEXT://box:19092,SASL_PLAINTEXT://box:19093";
        let all = of(&[("advertised.listeners", two)]).unwrap();
        let ports: Vec<_> = all.iter().map(|one| (&*one.host, one.port)).collect();
        assert_eq!(ports, [("127.0.0.1", 19092), ("127.0.0.1", 19093)]);
        // As in a container, where nobody but other containers is near.
        let config = BrokerConfig::new([("advertised.listeners", two)], false).unwrap();
        let all = addresses(&config, Some("0.0.0.0"), None, Protocol::Plaintext).unwrap();
        assert!(all.iter().all(|one| one.host == "0.0.0.0"), "{all:?}");
    }

    #[test]
    fn host_and_port_given_for_themselves_stand_before_listeners() {
        let pairs = [("listeners", "PLAINTEXT://[::1]:9094")];
        let config = BrokerConfig::new(pairs, false).unwrap();
        let address = addresses(&config, None, Some(0), Protocol::Plaintext)
            .unwrap()
            .remove(0);
        assert_eq!((&*address.host, address.port), ("::1", 0));
        let address = addresses(&config, Some("127.0.0.1"), None, Protocol::Plaintext)
            .unwrap()
            .remove(0);
        assert_eq!((&*address.host, address.port), ("127.0.0.1", 9094));
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_what_can() {
        let refused = |pairs| of(pairs).unwrap_err();
        assert!(refused(&[("listeners", "9092")]).contains("NAME://HOST:PORT"));
        assert!(refused(&[("listeners", "A://:1,A://:2")]).contains("twice"));
        assert!(refused(&[("listeners", "A://:1")]).contains("listener.security.protocol.map"));
        assert!(refused(&[("advertised.listeners", "PLAINTEXT://0.0.0.0:1")]).contains("reach"));
        assert!(refused(&[("process.roles", "controller")]).contains("broker"));
        let unknown = [
            ("listeners", "PLAINTEXT://:1"),
            ("advertised.listeners", "OTHER://box:1"),
        ];
        assert!(refused(&unknown).contains("listeners has not"));
        let controllers = [
            ("listeners", "CONTROLLER://:1"),
            ("controller.listener.names", "CONTROLLER"),
        ];
        assert!(refused(&controllers).contains("for clients"));
    }
}
