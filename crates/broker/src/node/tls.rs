//! A listener's certificate and whom it trusts, replaced while the broker runs.

use rustka_core::security::mapping::MappingRules;
use rustka_core::sync::{Rank, read_at, write_at};
use std::sync::{Arc, RwLock};
use tokio_rustls::rustls::ServerConfig;

/// What a listener needs to speak TLS.
pub struct Tls {
    spoken: RwLock<Spoken>,
    /// How the names in clients' certificates become names of users.
    pub names: MappingRules,
}

/// What the next connection meets.
struct Spoken {
    clients: Arc<ServerConfig>,
    pages: Arc<ServerConfig>,
}

impl Tls {
    /// From what was loaded at the start: for clients, and for who looks at pages.
    pub fn new(clients: Arc<ServerConfig>, pages: Arc<ServerConfig>, names: MappingRules) -> Tls {
        Tls {
            spoken: RwLock::new(Spoken { clients, pages }),
            names,
        }
    }

    /// What the next client meets.
    pub fn config(&self) -> Arc<ServerConfig> {
        read_at(Rank::Leaf, &self.spoken).clients.clone()
    }

    /// What the next reader of pages meets.
    pub fn pages(&self) -> Arc<ServerConfig> {
        read_at(Rank::Leaf, &self.spoken).pages.clone()
    }

    /// Changes what connections meet from now on; those that are there stay as they are.
    pub fn replace(&self, clients: Arc<ServerConfig>, pages: Arc<ServerConfig>) {
        *write_at(Rank::Leaf, &self.spoken) = Spoken { clients, pages };
    }
}
