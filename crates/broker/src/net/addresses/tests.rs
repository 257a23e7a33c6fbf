//! Where the broker is found, for each way in which people say so.

use super::*;

fn of(pairs: &[(&str, &str)]) -> Result<Vec<Address>, String> {
    let config = BrokerConfig::new(pairs.iter().copied(), false).unwrap();
    addresses(&config, None, None, Protocol::Plaintext).map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(|error| error.to_string()).collect();
        lines.join("\n")
    })
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

// Somebody corrected one listener, started again, and was told of the next.
#[test]
fn each_mistake_among_the_listeners_is_told_at_once_and_none_that_only_follows() {
    let lines = |pairs: &[(&str, &str)]| -> Vec<String> {
        let told = of(pairs).unwrap_err();
        told.lines().map(str::to_owned).collect()
    };
    let told = lines(&[
        (
            "listeners",
            "A://:9092,B://:x,9093,C://:9094,C://:9095,D://:9096",
        ),
        (
            "advertised.listeners",
            "A://0.0.0.0:9092,B://box:9093,E://box,D://[::]:9096",
        ),
        (
            "listener.security.protocol.map",
            "A:PLAINTEXT,B:SSL,C:TLS,F",
        ),
    ]);
    let expected = [
        "gives listener C the protocol TLS",
        "Invalid value 'F' for config 'listener.security.protocol.map'",
        "Invalid value 'B://:x' for config 'listeners'",
        "Invalid value '9093' for config 'listeners'",
        "config 'listeners' has the name C twice",
        "Invalid value 'E://box' for config 'advertised.listeners'",
        "connect to '0.0.0.0'",
        "connect to '::'",
        "listeners has listener D without a protocol",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, expected) in told.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
    let told = lines(&[
        ("listeners", "A://:x,B://:9093"),
        ("advertised.listeners", "A://box:1,X://box:2,Y://box:3"),
        ("listener.security.protocol.map", "A:SSL,B:PLAINTEXT"),
    ]);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(
        told[1].contains("the name X") && told[2].contains("the name Y"),
        "{told:#?}"
    );
}
