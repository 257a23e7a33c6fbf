//! A broker whose records lie in files, and that is killed.

use super::{Process, RUSTKA};
use rustka_client::{Address, Client, ClientOptions, Tcp};
use rustka_storage::testing::Folder;
use std::process::Command;

/// A broker that does not answer within this time is taken for gone.
const PATIENCE_MS: i64 = 10_000;

/// A broker that is killed, as `kill -9` does, when the test is done with it.
pub struct Server(pub Process);

impl Server {
    /// Starts it over the files of the lives before, with more arguments.
    pub fn start(folder: &Folder, arguments: &[&str]) -> Server {
        Server::at("0", folder, arguments)
    }

    /// Ends as `kill -9` does, and is there again under the same address.
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

/// A client of a broker at this address.
pub fn client(address: Address) -> Client {
    let options = ClientOptions::new(vec![address], Tcp);
    options.patience_ms(PATIENCE_MS, 1).client()
}
