//! A cluster as one client sees it: how its brokers are reached, and the connections to them that all calls share.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::sync::lock;
use rustka_wire::Request;

use crate::channel::Channel;
use crate::clock::{Clock, SystemClock};
use crate::cluster::{Cluster, Coordinated};
use crate::connection::Connection;
use crate::dial::{Address, BoxFuture, Dial, Login};
use crate::error::{Error, Reason, Result};
use crate::frame::Answer;

/// How long an answer may take unless the caller says otherwise, as in Kafka's own clients.
const REQUEST_MS: i64 = 30_000;
/// How long a call is tried again while the cluster says that it is not ready for it.
const RETRY_MS: i64 = 60_000;
/// Shared connections at a time; beyond that all are given up, and opened again where they are needed.
const CHANNELS_MAX: usize = 1_000;
/// The first pause between two tries; each next one is twice as long.
const PAUSE_MS: i64 = 10;
/// The longest pause between two tries.
const PAUSE_MS_MAX: i64 = 1_000;

/// How a client reaches its cluster.
#[derive(Clone)]
pub struct ClientOptions {
    pub(crate) bootstrap: Vec<Address>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) login: Option<Arc<dyn Login>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) client_id: String,
    pub(crate) request_ms: i64,
    pub(crate) retry_ms: i64,
}

impl ClientOptions {
    /// Reaches brokers this way, first at one of these addresses, then where these say that the others are.
    pub fn new(bootstrap: Vec<Address>, dial: impl Dial + 'static) -> ClientOptions {
        ClientOptions {
            bootstrap,
            dial: Arc::new(dial),
            login: None,
            clock: Arc::new(SystemClock::default()),
            client_id: "rustka".to_owned(),
            request_ms: REQUEST_MS,
            retry_ms: RETRY_MS,
        }
    }

    /// Logs in on every connection.
    pub fn login(mut self, login: impl Login + 'static) -> ClientOptions {
        self.login = Some(Arc::new(login));
        self
    }

    /// Goes by this clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> ClientOptions {
        self.clock = Arc::new(clock);
        self
    }

    /// The name that brokers see.
    pub fn client_id(mut self, client_id: impl Into<String>) -> ClientOptions {
        self.client_id = client_id.into();
        self
    }

    /// How long an answer may take, and how long a call is tried again.
    pub fn patience_ms(mut self, request_ms: i64, retry_ms: i64) -> ClientOptions {
        (self.request_ms, self.retry_ms) = (request_ms, retry_ms);
        self
    }

    /// A client. It connects when it is first used.
    pub fn client(self) -> Client {
        Client(Arc::new(Inner {
            options: self,
            cluster: Mutex::default(),
            channels: Mutex::default(),
        }))
    }
}

/// Who has to answer a request.
#[derive(Clone, Copy, Debug)]
pub enum To<'a> {
    /// Whoever can be reached.
    Any,
    /// The broker with this id.
    Node(i32),
    /// The coordinator of this group.
    Group(&'a str),
    /// The coordinator of this transactional id.
    Transaction(&'a str),
}

/// A client of one cluster. Clones share its connections and what it knows.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: ClientOptions,
    pub(crate) cluster: Mutex<Cluster>,
    /// Connections in use, by address.
    channels: Mutex<BTreeMap<Address, Channel>>,
}

impl Client {
    /// A client over plain TCP of the cluster at these addresses: `one:9092,two:9092`.
    #[cfg(feature = "tcp")]
    pub fn at(bootstrap: &str) -> Result<Client> {
        let addresses = Address::list(bootstrap)
            .map_err(|error| Error::from(Reason::Invalid(error.to_string())))?;
        Ok(ClientOptions::new(addresses, crate::dial::Tcp).client())
    }

    /// The client's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.options.clock
    }

    /// A connection of its own to the broker at this address: for requests that wait, behind which others would queue.
    pub async fn open(&self, address: &Address) -> Result<Channel> {
        let options = &self.0.options;
        let limit_ms = options.request_ms;
        let label: Arc<str> = address.to_string().into();
        let opening = async {
            let dialled = options.dial.dial(address).await;
            let stream =
                dialled.map_err(|error| Error::from(Reason::Dial(Arc::new(error))).at(&label))?;
            let mut connection = Connection::over(stream, label.clone(), &*options.client_id);
            connection.negotiate().await?;
            if let Some(login) = &options.login {
                login.login(&mut connection).await?;
            }
            Ok(Channel::over(connection, options.clock.clone()))
        };
        let doing = "connecting";
        match within(&*options.clock, limit_ms, opening).await {
            Some(outcome) => outcome,
            None => Err(Error::from(Reason::TimedOut { doing, limit_ms }).at(&label)),
        }
    }

    /// The shared connection to the broker at this address.
    pub async fn channel(&self, address: &Address) -> Result<Channel> {
        let known = lock(&self.0.channels).get(address).cloned();
        if let Some(channel) = known.filter(|channel| !channel.has_ended()) {
            return Ok(channel);
        }
        let channel = self.open(address).await?;
        let mut channels = lock(&self.0.channels);
        channels.retain(|_, known| !known.has_ended());
        // Brokers say where other brokers are; one that makes addresses up is not to open connections without end.
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(address.clone(), channel.clone());
        Ok(channel)
    }

    /// The shared connection to some broker: the first that can be reached, of those known and those told at the start.
    pub async fn any(&self) -> Result<Channel> {
        let mut last = None;
        for address in self.addresses() {
            match self.channel(&address).await {
                Ok(channel) => return Ok(channel),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            Reason::Invalid("no address of a broker was given".to_owned()).into()
        }))
    }

    /// Asks any broker in the newest version that both know, and again while the connection is at fault.
    pub async fn call<R: Request>(&self, request: &R) -> Result<Answer<R>> {
        self.call_at(To::Any, (0, i16::MAX), request).await
    }

    /// Asks the one who has to answer, in the newest version from the first to the second that both know, and again while the
    /// connection is at fault. What the answer says is for the caller.
    pub async fn call_at<R: Request>(
        &self,
        to: To<'_>,
        versions: (i16, i16),
        request: &R,
    ) -> Result<Answer<R>> {
        let mut patience = self.patience();
        loop {
            let outcome = async {
                let channel = self.reach(to).await?;
                let version = channel.pick::<R>(versions.0, versions.1)?;
                channel.call_in(version, request, self.request_ms()).await
            };
            match outcome.await {
                Ok(answer) => return Ok(answer),
                Err(error) => patience.again(error).await?,
            }
        }
    }

    /// The shared connection to the one who has to answer; finding that out may take calls of its own.
    fn reach<'a>(&'a self, to: To<'a>) -> BoxFuture<'a, Result<Channel>> {
        Box::pin(async move {
            match to {
                To::Any => self.any().await,
                To::Node(node) => self.node(node).await,
                To::Transaction(id) => {
                    let address = self.coordinator(Coordinated::Transaction, id).await?;
                    self.channel(&address).await
                }
                To::Group(group) => {
                    let address = self.coordinator(Coordinated::Group, group).await?;
                    self.channel(&address).await
                }
            }
        })
    }

    /// Every address to try, those in use first.
    fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<Address> = Vec::new();
        {
            let channels = lock(&self.0.channels);
            let alive = channels.iter().filter(|(_, channel)| !channel.has_ended());
            addresses.extend(alive.map(|(address, _)| address.clone()));
        }
        let known = lock(&self.0.cluster).addresses();
        for address in known
            .into_iter()
            .chain(self.0.options.bootstrap.iter().cloned())
        {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// How long an answer may take.
    pub(crate) fn request_ms(&self) -> i64 {
        self.0.options.request_ms
    }

    /// As much as this client has for one call.
    pub(crate) fn patience(&self) -> Patience {
        let clock = self.clock().clone();
        Patience {
            due_ms: clock.monotonic_ms().saturating_add(self.0.options.retry_ms),
            pause_ms: PAUSE_MS,
            clock,
        }
    }
}

/// How long a call is tried again.
pub(crate) struct Patience {
    clock: Arc<dyn Clock>,
    due_ms: i64,
    pause_ms: i64,
}

impl Patience {
    /// Pauses before the next try; the error itself when there is to be none.
    pub(crate) async fn again(&mut self, error: Error) -> Result<()> {
        match error.is_retriable() {
            true => self.pause(error).await,
            false => Err(error),
        }
    }

    /// The same after an error of which the caller knows that the next try may go better.
    pub(crate) async fn pause(&mut self, error: Error) -> Result<()> {
        let next_ms = self.clock.monotonic_ms().saturating_add(self.pause_ms);
        if next_ms > self.due_ms {
            return Err(error);
        }
        self.clock.sleep_until(next_ms).await;
        self.pause_ms = (self.pause_ms * 2).min(PAUSE_MS_MAX);
        Ok(())
    }
}

/// What the future comes to, unless that takes longer.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    limit_ms: i64,
    future: impl Future<Output = T>,
) -> Option<T> {
    until(clock, clock.monotonic_ms().saturating_add(limit_ms), future).await
}

/// What the future comes to, unless it is `due_ms` before that.
pub(crate) async fn until<T>(
    clock: &dyn Clock,
    due_ms: i64,
    future: impl Future<Output = T>,
) -> Option<T> {
    let (mut future, mut late) = (pin!(future), pin!(clock.sleep_until(due_ms)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => late.as_mut().poll(cx).map(|()| None),
    })
    .await
}
