//! How a broker starts: its sockets, its parts, and the tasks that keep it up.

use super::{Broker, assemble};
use crate::api::parts::Parts;
use crate::base::start::StartError;
use crate::coordinators::cluster::keeping;
use crate::coordinators::{cluster, groups, transactions};
#[cfg(feature = "http")]
use crate::http::{self, Http};
use crate::net::addresses::Address;
use crate::net::listener;
use crate::net::login_rules::ListenerConfigs;
use crate::net::tls::reload::{self, Watched};
use crate::net::tls::rules as tls_rules;
use crate::net::tls::self_signed::SelfSigned;
use crate::node::State;
use crate::options::{self, Options};
use crate::upkeep::{compaction, files, housekeeping, supervise};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

impl Broker {
    pub(crate) fn start(mut options: Options) -> Result<Broker, StartError> {
        let runtime = match Handle::try_current() {
            Ok(_) => None,
            Err(_) => Some(
                tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .thread_name("rustka")
                    .build()
                    .map_err(|error| {
                        StartError::new(format!("cannot start the runtime: {error}"))
                    })?,
            ),
        };
        let handle = runtime
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone());
        let _entered = handle.enter();
        options.check()?;
        let directory = options.open_directory()?;
        let addresses = options.addresses().map_err(options::first)?;
        let bound = match options.sockets {
            true => Bound::all(&addresses)?,
            false => addresses.iter().map(Bound::nowhere).collect(),
        };
        let http_listener = match options.sockets && cfg!(feature = "http") {
            true => listener::bind_http(&addresses[0].host, options.http_port)?,
            false => None,
        };
        let http_address = http_listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        #[cfg(feature = "http")]
        let page_options = options.pages.clone();
        let own = options.listener_configs.clone();
        let made = match options.self_signed {
            true => Some(SelfSigned::new(&names_of(&addresses))?),
            false => None,
        };
        let parts = assemble::parts(options, directory, &addresses, &bound, made.as_ref())?;
        let parts = Arc::new(parts);
        let node = &parts.node;
        let bootstrap = bound[0].port;
        for (bound, of) in bound.into_iter().zip(&node.listeners) {
            for socket in bound.sockets {
                let (socket, of, parts) = (Arc::new(socket), of.clone(), parts.clone());
                let name = listener::name(&socket);
                supervise::keep(node, name, move || {
                    listener::accept(socket.clone(), of.clone(), parts.clone())
                });
            }
        }
        #[cfg(feature = "http")]
        let pages = Arc::new(Http::new(parts.clone(), page_options));
        #[cfg(feature = "http")]
        if let Some(listener) = http_listener {
            let (listener, pages) = (Arc::new(listener), pages.clone());
            supervise::keep(node, http::TASK, move || {
                http::serve(listener.clone(), pages.clone())
            });
        }
        #[cfg(feature = "http")]
        {
            let pages = pages.clone();
            supervise::keep(node, http::HISTORY_TASK, move || {
                http::keep_history(pages.clone())
            });
        }
        keep_up(&parts);
        watch_certificates(&parts, &addresses, &own);
        node.state.send_replace(State::Serving);
        Ok(Broker {
            host: reachable(&addresses[0].host),
            parts,
            #[cfg(feature = "http")]
            pages,
            bootstrap,
            http: http_address,
            authority: made.map(|made| made.authority().to_owned()),
            handle: handle.clone(),
            runtime,
        })
    }
}

/// Has new certificates take the place of the old ones.
fn watch_certificates(parts: &Arc<Parts>, addresses: &[Address], own: &ListenerConfigs) {
    let config = parts.node.config.broker();
    let all = addresses.iter().zip(&parts.node.listeners);
    // Those that were made for this start stay for as long as it lives.
    let given = all.filter(|(address, _)| tls_rules::has_certificate(address, &config, own));
    let watched = given.filter(|(_, listener)| listener.tls.is_some());
    let watched: Vec<_> = watched
        .map(|(address, listener)| Watched {
            listener: listener.clone(),
            address: address.clone(),
            own: own.clone(),
        })
        .collect();
    if watched.is_empty() {
        return;
    }
    let (node, watched) = (parts.node.clone(), Arc::new(watched));
    supervise::keep(&parts.node, reload::TASK, move || {
        reload::run(node.clone(), watched.clone())
    });
}

/// Starts what the broker does without being asked.
fn keep_up(parts: &Arc<Parts>) {
    let node = &parts.node;
    let for_housekeeping = parts.clone();
    supervise::keep(node, housekeeping::TASK, move || {
        housekeeping::run(for_housekeeping.clone())
    });
    let for_compaction = node.clone();
    supervise::keep(node, compaction::TASK, move || {
        compaction::run(for_compaction.clone())
    });
    if node.engine.directory().is_some() {
        let for_files = node.clone();
        supervise::keep(node, files::TASK, move || files::run(for_files.clone()));
    }
    let for_cluster = parts.cluster.clone();
    supervise::keep(node, cluster::TASK, move || {
        cluster::run(for_cluster.clone())
    });
    if node.engine.directory().is_some() {
        let for_snapshots = parts.cluster.clone();
        supervise::keep(node, keeping::TASK, move || {
            keeping::run(for_snapshots.clone())
        });
    }
    let for_transactions = parts.transactions.clone();
    supervise::keep(node, transactions::TASK, move || {
        transactions::run(for_transactions.clone())
    });
    let for_groups = parts.groups.clone();
    supervise::keep(node, groups::TASK, move || groups::run(for_groups.clone()));
}

/// The names by which clients come, for a certificate.
fn names_of(addresses: &[Address]) -> Vec<String> {
    let told = addresses
        .iter()
        .filter_map(|address| address.advertised.as_ref());
    let mut names: Vec<String> = told.map(|(host, _)| host.to_string()).collect();
    names.extend(addresses.iter().map(|address| reachable(&address.host)));
    names
}

/// A listener's sockets and the port they share.
pub(super) struct Bound {
    pub(super) sockets: Vec<TcpListener>,
    pub(super) port: u16,
}

impl Bound {
    fn all(addresses: &[Address]) -> Result<Vec<Bound>, StartError> {
        let bound = addresses.iter().map(|address| {
            let sockets = listener::bind(&address.host, address.port)?;
            let port = match sockets.first().map(TcpListener::local_addr) {
                Some(Ok(local)) => local.port(),
                Some(Err(error)) => return Err(StartError::new(error.to_string())),
                None => address.port,
            };
            Ok(Bound { sockets, port })
        });
        bound.collect()
    }

    /// Without sockets.
    fn nowhere(address: &Address) -> Bound {
        Bound {
            sockets: Vec::new(),
            port: address.port,
        }
    }
}

/// A wildcard address is no use to a client on this machine; it connects to the loopback address instead.
pub(super) fn reachable(host: &str) -> String {
    match host {
        "" | "0.0.0.0" | "::" | "localhost" => "127.0.0.1".to_owned(),
        other => other.to_owned(),
    }
}
