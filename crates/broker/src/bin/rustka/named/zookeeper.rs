//! `zookeeper-server-start FILE`: an open port where launchers made for older Kafkas look for ZooKeeper. Nothing speaks its
//! protocol there, and nothing has to: the broker needs none.

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

use crate::properties;

/// ZooKeeper's port unless the file says otherwise.
const PORT: u16 = 2181;

/// Accepts and hangs up until the process is ended; a sentence when the port cannot be had.
pub fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let [file] = arguments else {
        return Err(
            "give one file of properties: zookeeper-server-start zookeeper.properties".to_owned(),
        );
    };
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let port = client_port(&text)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    eprintln!(
        "zookeeper-server-start: no ZooKeeper is needed; port {port} is only open for those who wait for it"
    );
    loop {
        match listener.accept() {
            Ok((stream, _)) => drop(stream),
            Err(error) => return Err(format!("cannot accept on port {port}: {error}")),
        }
    }
}

fn client_port(text: &str) -> Result<u16, String> {
    let properties = properties::parse(text)?.into_iter();
    let port = properties
        .rev()
        .find(|property| property.key == "clientPort");
    match port {
        Some(port) => port
            .value
            .parse()
            .map_err(|_| format!("clientPort={} is not a port", port.value)),
        None => Ok(PORT),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_port_is_that_of_the_file() {
        assert_eq!(
            super::client_port("clientPort=2182\ndataDir=/x\n"),
            Ok(2182)
        );
        assert_eq!(super::client_port(""), Ok(2181));
        assert!(super::client_port("clientPort=x").is_err());
    }
}
