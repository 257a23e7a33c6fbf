//! Where the broker listens and what it tells its clients, from `listeners` and `advertised.listeners` or from a host
//! and a port given for themselves.
//!
//! One listener is served so far, without encryption or authentication: the first one of `listeners` that can be.

use crate::base::start::StartError;
use rustka_core::config::BrokerConfig;

/// Kafka's port.
pub const PORT_DEFAULT: u16 = 9092;
/// Loopback unless told otherwise: a broker without authentication is nothing for a network.
const HOST_DEFAULT: &str = "127.0.0.1";
/// The name of a listener that was not given one.
const NAME_DEFAULT: &str = "PLAINTEXT";
/// All interfaces.
const HOST_ANY: &str = "0.0.0.0";

/// The one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The listener's name.
    pub listener: String,
    /// The address to listen on.
    pub host: String,
    /// The port to listen on, 0 for a free one.
    pub port: u16,
    /// What clients are told, where it is not the address that is listened on.
    pub advertised: Option<(String, u16)>,
    /// Names of listeners that were asked for and are not there.
    pub not_served: Vec<String>,
}

struct Listener<'a> {
    name: &'a str,
    host: &'a str,
    port: u16,
}

impl Addresses {
    /// Host and port given for themselves stand before `listeners`.
    pub fn of(
        config: &BrokerConfig,
        host: Option<&str>,
        port: Option<u16>,
    ) -> Result<Addresses, StartError> {
        let roles = config.set_value("process.roles").unwrap_or("broker");
        if !roles.split(',').any(|role| role == "broker") {
            return Err(StartError(format!(
                "process.roles is '{roles}': this is a broker, expected 'broker' or 'broker,controller'"
            )));
        }
        let given = parse_all("listeners", config.set_value("listeners"))?;
        let told = parse_all(
            "advertised.listeners",
            config.set_value("advertised.listeners"),
        )?;
        let controllers = config.set_value("controller.listener.names").unwrap_or("");
        let is_controller = |name: &str| controllers.split(',').any(|other| other == name);
        let brokers = || {
            given
                .iter()
                .filter(|listener| !is_controller(listener.name))
        };
        let chosen = brokers().find(|listener| protocol(config, listener.name) == "PLAINTEXT");
        if chosen.is_none()
            && let Some(first) = brokers().next()
        {
            return Err(StartError(format!(
                "listener {} uses {}, but only PLAINTEXT is served: give listeners one that is, such as PLAINTEXT://:9092",
                first.name,
                protocol(config, first.name)
            )));
        }
        let host_default = match chosen {
            Some(Listener { host: "", .. }) => HOST_ANY,
            Some(listener) => listener.host,
            // What clients are told says nothing about where to listen: an address may lead here by way of others.
            None => HOST_DEFAULT,
        };
        let of_chosen = |listener: &&Listener<'_>| chosen.is_none_or(|c| c.name == listener.name);
        let advertised = told.iter().find(of_chosen).or(told.first());
        if let Some(wrong) = advertised.filter(|l| matches!(l.host, "" | "0.0.0.0" | "::")) {
            return Err(StartError(format!(
                "advertised.listeners tells clients to connect to '{}': expected an address that they can reach",
                wrong.host
            )));
        }
        Ok(Addresses {
            listener: chosen
                .map_or(NAME_DEFAULT, |listener| listener.name)
                .to_owned(),
            host: host.unwrap_or(host_default).to_owned(),
            port: port.unwrap_or(chosen.map_or(PORT_DEFAULT, |listener| listener.port)),
            advertised: advertised.map(|listener| (listener.host.to_owned(), listener.port)),
            not_served: brokers()
                .filter(|listener| chosen.is_some_and(|chosen| chosen.name != listener.name))
                .map(|listener| listener.name.to_owned())
                .collect(),
        })
    }
}

/// A listener's protocol; without an entry in the map its name is one.
fn protocol<'a>(config: &'a BrokerConfig, name: &'a str) -> &'a str {
    let map = config.value("listener.security.protocol.map").unwrap_or("");
    let mut entries = map.split(',').filter_map(|entry| entry.split_once(':'));
    let found = entries.find(|(listener, _)| listener.trim() == name);
    found.map_or(name, |(_, protocol)| protocol.trim())
}

fn parse_all<'a>(key: &str, list: Option<&'a str>) -> Result<Vec<Listener<'a>>, StartError> {
    let items = list.unwrap_or("").split(',').map(str::trim);
    let listeners = items.filter(|item| !item.is_empty()).map(|item| {
        parse(item).ok_or_else(|| {
            StartError(format!(
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
            return Err(StartError(format!(
                "config '{key}' has the name {} twice: each listener needs one of its own",
                listener.name
            )));
        }
    }
    Ok(listeners)
}

/// `NAME://HOST:PORT`; the host may be empty, or an IPv6 address in brackets.
fn parse(text: &str) -> Option<Listener<'_>> {
    let (name, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let port = port.parse().ok()?;
    (!name.is_empty()).then_some(Listener { name, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Addresses, String> {
        let config = BrokerConfig::new(pairs.iter().copied(), false).unwrap();
        Addresses::of(&config, None, None).map_err(|error| error.to_string())
    }

    #[test]
    fn without_listeners_it_is_kafkas_port_on_loopback() {
        let addresses = of(&[]).unwrap();
        assert_eq!((&*addresses.host, addresses.port), ("127.0.0.1", 9092));
        assert_eq!(addresses.advertised, None);
    }

    #[test]
    fn the_first_listener_for_clients_is_served_under_its_own_advertised_address() {
        let addresses = of(&[
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
                "CONTROLLER:PLAINTEXT,EXTERNAL:PLAINTEXT,INTERNAL:PLAINTEXT",
            ),
        ])
        .unwrap();
        assert_eq!((&*addresses.host, addresses.port), ("0.0.0.0", 9094));
        assert_eq!(addresses.advertised, Some(("localhost".to_owned(), 9094)));
        assert_eq!(addresses.listener, "EXTERNAL");
        assert_eq!(addresses.not_served, ["INTERNAL"]);
    }

    #[test]
    fn host_and_port_given_for_themselves_stand_before_listeners() {
        let pairs = [("listeners", "PLAINTEXT://[::1]:9094")];
        let config = BrokerConfig::new(pairs, false).unwrap();
        let addresses = Addresses::of(&config, None, Some(0)).unwrap();
        assert_eq!((&*addresses.host, addresses.port), ("::1", 0));
        let addresses = Addresses::of(&config, Some("127.0.0.1"), None).unwrap();
        assert_eq!((&*addresses.host, addresses.port), ("127.0.0.1", 9094));
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_what_can() {
        let refused = |pairs| of(pairs).unwrap_err();
        assert!(refused(&[("listeners", "9092")]).contains("NAME://HOST:PORT"));
        assert!(refused(&[("listeners", "SSL://:9093")]).contains("only PLAINTEXT"));
        assert!(refused(&[("listeners", "A://:1,A://:2")]).contains("twice"));
        assert!(refused(&[("advertised.listeners", "A://0.0.0.0:1")]).contains("reach"));
        assert!(refused(&[("process.roles", "controller")]).contains("broker"));
    }

    // A developer told clients 127.0.0.1, and the broker served the whole network, its HTTP port too.
    #[test]
    fn what_clients_are_told_opens_no_door_to_the_network() {
        for told in ["A://127.0.0.1:1", "A://box:1"] {
            let addresses = of(&[("advertised.listeners", told)]).unwrap();
            assert_eq!(addresses.host, "127.0.0.1", "{told}");
        }
    }
}
