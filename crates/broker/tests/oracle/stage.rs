//! A broker in memory, on one thread and a clock that only moves when told, for the player to talk to.

use super::common::World;
use super::denying::Denying;
use rustka::LogControl;
use rustka::net::transport::MemoryStream;
use rustka_oracle_player::play::{Line, Target};
use rustka_oracle_player::scenario::Scenario;
use rustka_oracle_player::schema::Schemas;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;

/// Time passes on the broker's clock in steps of this, also whenever a client has nothing to read for a moment.
const STEP_MS: u64 = 20;
/// The authorizer that denies what a client id says.
const DENYING: &str = "Denying";
/// What stands for ports in the configs of scenarios.
const PORTS: [(&str, &str); 3] = [("$port", "9092"), ("$control", "9093"), ("$login", "9094")];
/// Where all clients are.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The recorder's cluster.
const CLUSTER_ID: &str = "5L6g3nShT-eMCtK--X86sw";

/// The log levels of a program that logs nowhere.
#[derive(Default)]
struct Levels(Mutex<BTreeMap<String, LevelFilter>>);

impl LogControl for Levels {
    fn level(&self, logger: &str) -> LevelFilter {
        let levels = self.0.lock().expect("levels");
        let level = levels.get(logger).or_else(|| levels.get("root"));
        level.copied().unwrap_or(LevelFilter::INFO)
    }

    fn set(&self, levels: &BTreeMap<String, Option<LevelFilter>>) -> Result<(), String> {
        let mut known = self.0.lock().expect("levels");
        for (logger, level) in levels {
            match level {
                Some(level) => known.insert(logger.clone(), *level),
                None => known.remove(logger),
            };
        }
        Ok(())
    }
}

/// A broker with the recorder's configuration on one thread, so that nothing is left to chance.
pub struct Stage {
    world: World,
    denying: Arc<Denying>,
    runtime: Runtime,
}

impl Stage {
    /// Starts it.
    pub fn start(scenario: &Scenario, strict: bool) -> Result<Rc<Stage>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .map_err(|e| e.to_string())?;
        let denying = Arc::new(Denying::default());
        let class = scenario.config().remove("authorizer.class.name");
        let is_guarded = class.as_deref() == Some(DENYING);
        let world = {
            let _entered = runtime.enter();
            World::with(|mut options| {
                options = options
                    .strict(strict)
                    .cluster_id(CLUSTER_ID)
                    .log_control(Arc::new(Levels::default()));
                let base = [
                    ("offsets.topic.num.partitions", "4"),
                    ("group.initial.rebalance.delay.ms", "0"),
                ];
                // The recorder's, whose clients are all on this machine; a scenario may have others.
                let told = ("advertised.listeners", "PLAINTEXT://127.0.0.1:9092");
                for (key, value) in base.into_iter().chain([told]) {
                    options = options.config(key, value);
                }
                for (key, value) in scenario.config() {
                    // The class of the scenarios that look at what is asked; others have the one that is built in.
                    if (key.as_str(), value.as_str()) == ("authorizer.class.name", DENYING) {
                        continue;
                    }
                    let value = PORTS
                        .iter()
                        .fold(value, |value, (name, port)| value.replace(name, port));
                    options = options.config(key, value);
                }
                if is_guarded {
                    options = options.authorizer(denying.clone());
                }
                options
            })
        };
        Ok(Rc::new(Stage {
            world,
            denying,
            runtime,
        }))
    }

    fn settle(&self) {
        self.runtime.block_on(self.world.settle());
    }

    fn advance(&self, by: Duration) {
        let mut left_ms = u64::try_from(by.as_millis()).expect("not so long");
        while left_ms > 0 {
            let step_ms = left_ms.min(STEP_MS);
            self.runtime.block_on(self.world.advance_ms(step_ms));
            self.runtime.block_on(self.world.compacted());
            left_ms -= step_ms;
        }
    }

    /// Plays one run of a scenario.
    pub fn play(
        self: &Rc<Self>,
        schemas: &Schemas,
        scenario: &Scenario,
        run: usize,
    ) -> Result<Vec<Value>, String> {
        let port = self.world.broker.node().listeners[0].port;
        let mut target = Target {
            connect: &mut |listener| {
                let _entered = self.runtime.enter();
                Ok(Box::new(Near {
                    stream: self.world.broker.connect_at(listener, LOOPBACK),
                    stage: self.clone(),
                }) as Box<dyn Line>)
            },
            port,
            now_ms: &mut || self.world.clock.now().wall_ms,
            advance: &mut |by| self.advance(by),
            settle: &mut || self.settle(),
            asked: &mut || self.denying.take_asked(),
            idle: &mut || self.advance(Duration::from_millis(STEP_MS)),
        };
        scenario.play(schemas, run, &mut target)
    }
}

/// The client's end of a connection. Whoever reads lets the broker run until it has nothing to do.
struct Near {
    stream: MemoryStream,
    stage: Rc<Stage>,
}

impl io::Read for Near {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let world = &self.stage.world;
        let stream = &mut self.stream;
        let found = self.stage.runtime.block_on(async {
            world.settle().await;
            // There is one thread for long work, and it does one thing after the other: this is behind all of it.
            let _done = tokio::task::spawn_blocking(|| ()).await;
            world.settle().await;
            std::future::poll_fn(|cx| {
                let mut buffer = ReadBuf::new(into);
                Poll::Ready(match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                    Poll::Ready(result) => Some(result.map(|()| buffer.filled().len())),
                    Poll::Pending => None,
                })
            })
            .await
        });
        found.unwrap_or(Err(io::ErrorKind::WouldBlock.into()))
    }
}

impl io::Write for Near {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stage.runtime.block_on(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
