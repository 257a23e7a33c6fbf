//! A broker without sockets, whose clock its client shares and which moves on whenever both have nothing to do.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use rustka::{Broker, Clock, Options};
use rustka_client::{Address, BoxFuture, Client, ClientOptions};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where the clock begins: some day in 2025.
pub const START_MS: i64 = 1_760_000_000_000;
/// Time moves in steps of this.
const STEP: Duration = Duration::from_millis(5);
/// Turns that every task gets before time moves.
const TURNS: usize = 64;
/// More than anything here takes; reached only by tests that fail.
const STEPS_MAX: usize = 40_000;

/// The broker's clock as the client sees it.
pub struct Shared(pub Clock);

impl rustka_client::Clock for Shared {
    fn monotonic_ms(&self) -> i64 {
        self.0.monotonic_ms()
    }

    fn wall_ms(&self) -> i64 {
        self.0.now().wall_ms
    }

    fn sleep_until(&self, monotonic_ms: i64) -> BoxFuture<'_, ()> {
        Box::pin(self.0.sleep_until(monotonic_ms))
    }
}

/// A broker, its clock, and where its clients have connected to.
pub struct World {
    pub broker: Arc<Broker>,
    pub clock: Clock,
    pub dialled: Arc<Mutex<Vec<Address>>>,
}

impl World {
    /// A broker with the defaults.
    pub fn start() -> World {
        World::with(|options| options)
    }

    /// A broker with other options.
    pub fn with(change: impl FnOnce(Options) -> Options) -> World {
        let clock = Clock::manual(START_MS);
        let options = Broker::builder().sockets(false).clock(clock.clone());
        World {
            broker: Arc::new(change(options).start().expect("a broker")),
            clock,
            dialled: Arc::default(),
        }
    }

    /// How a client reaches the broker, whatever address it was told.
    pub fn options(&self) -> ClientOptions {
        let (broker, dialled) = (self.broker.clone(), self.dialled.clone());
        let dial = move |address: &Address| {
            dialled.lock().expect("addresses").push(address.clone());
            Ok(broker.connect())
        };
        ClientOptions::new(vec![Address::new("first", 1)], dial).clock(Shared(self.clock.clone()))
    }

    /// A client of the broker.
    pub fn client(&self) -> Client {
        self.options().client()
    }

    /// What the future comes to; time passes while it waits for it.
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        for _ in 0..STEPS_MAX {
            tokio::select! {
                biased;
                out = &mut future => return out,
                () = self.turns() => self.clock.advance(STEP),
            }
        }
        panic!("that takes too long");
    }

    /// Lets everybody go on, and what is done on other threads be done: no time passes for it, however slow the machine is.
    async fn turns(&self) {
        self.broker.node().work.finished().await;
        self.broker.node().loads.finished().await;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }
}
