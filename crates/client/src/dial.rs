//! How a client gets from an address to a stream of bytes, and what it says before its first request.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Connection;
use crate::error::Result;

/// A future that somebody else wrote.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Any byte stream, of whatever type.
pub type BoxStream = Box<dyn Stream>;

/// Opens connections: by TCP, by TLS over it, or to a broker in this process, which ignores the address.
pub trait Dial: Send + Sync {
    /// A stream to the broker that listens at this address.
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxStream>>;
}

/// A function is a way to open connections that takes no time.
impl<F, S> Dial for F
where
    F: Fn(&Address) -> io::Result<S> + Send + Sync,
    S: Stream + 'static,
{
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxStream>> {
        let stream = self(address).map(|stream| Box::new(stream) as BoxStream);
        Box::pin(std::future::ready(stream))
    }
}

/// Plain TCP.
#[cfg(feature = "tcp")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

#[cfg(feature = "tcp")]
impl Dial for Tcp {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let target = (address.host.as_str(), address.port);
            let stream = tokio::net::TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

/// What a client says on a new connection once versions are known: a login.
pub trait Login: Send + Sync {
    /// Makes the connection ready for requests, or says why that cannot be.
    fn login<'a>(&'a self, connection: &'a mut Connection<BoxStream>) -> BoxFuture<'a, Result<()>>;
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// This host and port.
    pub fn new(host: impl Into<String>, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    /// A list of addresses as Kafka's tools take it: `one:9092,two:9092`.
    pub fn list(text: &str) -> std::result::Result<Vec<Address>, AddressError> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let list: Vec<Address> = parts
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?;
        match list.is_empty() {
            true => Err(AddressError(text.to_owned())),
            false => Ok(list),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A text that is no `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(pub String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an address such as 127.0.0.1:9092", self.0)
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> std::result::Result<Address, AddressError> {
        let wrong = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        match bare {
            Some(host) => Ok(Address::new(host, port)),
            None if host.is_empty() || host.contains([':', '/', ' ']) => Err(wrong()),
            None => Ok(Address::new(host, port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["localhost:9092", "[::1]:9092", "10.0.0.1:1"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "localhost",
            ":9092",
            "a:b",
            "::1:9092",
            "http://a:80",
            "a:70000",
        ] {
            assert_eq!(wrong.parse::<Address>(), Err(AddressError(wrong.into())));
        }
        let two = Address::list("a:1, b:2,").unwrap();
        assert_eq!(two, [Address::new("a", 1), Address::new("b", 2)]);
        assert!(Address::list(" ,").is_err());
    }
}
