//! By which names pages may be asked for. A web page from elsewhere can have its own name resolve to this machine and
//! then read what is served here in its visitors' browsers (DNS rebinding); the Host header still names that page's host.
//!
//! Health, readiness and counters are told under any name: probes and scrapers come by whatever name their network has,
//! and nothing of any record is in them. Everything else is for names that nobody else can hold.

use crate::node::Node;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{HOST, ToStrError};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Pages that are served under any name.
pub const ANY_HOST: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Whether this page may be asked for by the name that the request has.
pub fn is_served(request: &Request<Incoming>, node: &Node, allowed: &[String]) -> bool {
    if ANY_HOST.contains(&request.uri().path()) {
        return true;
    }
    match told(request) {
        // No browser leaves it out.
        None => true,
        Some(Ok(host)) => {
            let name = without_port(host);
            let is_allowed = allowed.iter().any(|one| name.eq_ignore_ascii_case(one));
            is_allowed || is_ours(name, &node.advertised_hosts())
        }
        Some(Err(_)) => false,
    }
}

/// The name, and where need be the port, by which the request came; an error if that is no text.
pub fn told(request: &Request<Incoming>) -> Option<Result<&str, ToStrError>> {
    let authority = request.uri().authority();
    let authority = authority.map(|authority| Ok(authority.as_str()));
    let header = || request.headers().get(HOST).map(|host| host.to_str());
    authority.or_else(header)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address stand within brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Addresses, names of this machine that are not looked up anywhere, and the names that clients are told.
fn is_ours(host: &str, advertised: &[Box<str>]) -> bool {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_address = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    };
    is_address
        || host.eq_ignore_ascii_case("localhost")
        || advertised
            .iter()
            .any(|told| host.eq_ignore_ascii_case(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_the_advertised_name_are_ours() {
        let told = ["kafka.example".into(), "other".into()];
        for host in [
            "127.0.0.1",
            "192.0.2.7:8080",
            "[::1]:8080",
            "[::1]",
            "LocalHost:1",
            "kafka.example",
        ] {
            assert!(is_ours(without_port(host), &told), "{host}");
        }
        for host in [
            "elsewhere.example",
            "127.0.0.1.elsewhere.example:8080",
            "localhost.elsewhere.example",
            "::1",
            "",
            "1",
        ] {
            assert!(!is_ours(without_port(host), &told), "{host}");
        }
    }
}
