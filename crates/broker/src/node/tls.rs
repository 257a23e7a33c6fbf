//! A listener's certificate and whom it trusts, replaced while the broker runs.

use rustka_core::security::mapping::MappingRules;
use rustka_core::sync::{Rank, read_at, write_at};
use std::sync::{Arc, RwLock};
use tokio_rustls::rustls::ServerConfig;

/// What a listener needs to speak TLS.
pub struct Tls {
    config: RwLock<Arc<ServerConfig>>,
    /// How the names in clients' certificates become names of users.
    pub names: MappingRules,
}

impl Tls {
    /// From what was loaded at the start.
    pub fn new(config: Arc<ServerConfig>, names: MappingRules) -> Tls {
        Tls {
            config: RwLock::new(config),
            names,
        }
    }

    /// What the next connection meets.
    pub fn config(&self) -> Arc<ServerConfig> {
        read_at(Rank::Leaf, &self.config).clone()
    }

    /// Changes what connections meet from now on; those that are there stay as they are.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *write_at(Rank::Leaf, &self.config) = config;
    }
}
