//! A broker whose records lie in files, and that is killed.

use super::{Process, RUSTKA};
use rustka_client::{Address, Client, ClientOptions, Tcp};
use rustka_storage::testing::Folder;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A broker that does not answer within this time is taken for gone. One that was killed is known to be gone at once.
const PATIENCE_MS: i64 = 60_000;

/// A broker that is killed, as `kill -9` does, when the test is done with it.
pub struct Server(pub Process);

impl Server {
    /// Starts it over the files of the lives before, with more arguments.
    pub fn start(folder: &Folder, arguments: &[&str]) -> Server {
        Server::at("0", folder, arguments)
    }

    /// The same, under an address that nobody takes in between two of its lives.
    pub fn start_to_stay(folder: &Folder, arguments: &[&str]) -> Server {
        Server::at(&lasting_port().to_string(), folder, arguments)
    }

    /// Ends as `kill -9` does, and is there again under the same address. See [`Server::start_to_stay`].
    pub fn killed_and_started(self, folder: &Folder, arguments: &[&str]) -> Server {
        let address = self.0.address("bootstrap");
        drop(self);
        let (_, port) = address.rsplit_once(':').expect("a port");
        Server::at(port, folder, arguments)
    }

    fn at(port: &str, folder: &Folder, arguments: &[&str]) -> Server {
        Server(Process::start(
            Command::new(RUSTKA)
                .args(["--port", port, "--http-port", "0", "--data-dir"])
                .arg(&folder.0)
                .args(arguments)
                .env("RUST_LOG", "warn"),
        ))
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        let bootstrap = Address::list(&self.0.address("bootstrap")).expect("an address");
        bootstrap.into_iter().next().expect("one of them")
    }

    /// A client of it, as its tests want one.
    pub fn client(&self) -> Client {
        client(self.address())
    }

    /// What a client of it begins with.
    pub fn options(&self) -> ClientOptions {
        ClientOptions::new(vec![self.address()], Tcp)
    }
}

/// A free port below those that the system gives to whoever asks for any: one of those may be somebody else's, or the near
/// end of a connection, before its broker is there again.
fn lasting_port() -> u16 {
    const FIRST: u32 = 15_000;
    const COUNT: u32 = 15_000;
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(31);
    (0..COUNT)
        .map(|_| FIRST + own.wrapping_add(TRIED.fetch_add(1, Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// A client of a broker at this address.
pub fn client(address: Address) -> Client {
    let options = ClientOptions::new(vec![address], Tcp);
    options.patience_ms(PATIENCE_MS, 1).client()
}
