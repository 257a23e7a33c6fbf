//! Faults on purpose, as data: where, for whom, which time, how often, and what. For tests of clients and of the broker
//! itself; one relaxed load each while nothing is armed.

use rustka_core::error::ErrorCode;
use rustka_core::sync::lock;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where something can be made to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A new connection.
    Accept,
    /// A request of which nothing was done.
    Dispatch,
    /// A change of a partition that has not happened: a batch of a client's or of a group's, or the deletion of records.
    Admit,
    /// A batch's write. It fails, which makes its partition read-only.
    Append,
    /// A shard of groups that has decided and has not written. Armed with its journal's topic.
    Decide,
    /// A change of topics or configs that is written and not shown to requests yet. Armed with `__cluster_metadata`.
    Publish,
    /// A task that lives as long as the broker, when it is next woken. Armed with the task's name in the place of a topic.
    Task,
    /// An answer: the work is done, and the client may not come to know.
    Reply,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Every element of the request is answered with this error, or the request where it has none; at `Admit` and
    /// `Append` the one partition.
    Error(ErrorCode),
    /// It goes on after so many milliseconds of the broker's clock.
    Delay(i64),
    /// It never goes on, while the connection stays open: until the broker stops, or the client goes with nothing unread.
    Hang,
    /// The connection is closed.
    Close,
    /// Only so many bytes of the answer's frame are sent, its length among them; then the connection is closed.
    Truncate(usize),
    /// The code panics.
    Panic,
}

/// Something that is to go wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Where.
    pub point: Point,
    /// Only in requests with this API key.
    pub api: Option<i16>,
    /// Only for what names this topic, also by its id.
    pub topic: Option<Box<str>>,
    /// Only for what names this group.
    pub group: Option<Box<str>>,
    /// Only for this client id.
    pub client: Option<Box<str>>,
    /// The occurrence that is the first to be struck, from 1.
    pub nth: u32,
    /// How likely each is struck from there on, from 0 to 1.
    pub probability: f64,
    /// What chance goes by: the same seed strikes the same occurrences.
    pub seed: u64,
    /// How often it strikes before it is gone.
    pub times: u32,
    /// What happens then.
    pub effect: Effect,
}

impl Fault {
    /// The next occurrence goes wrong in the way that is usual there: the connection is closed, the partition says
    /// KAFKA_STORAGE_ERROR, the code panics.
    pub fn at(point: Point) -> Fault {
        let effect = match point {
            Point::Accept | Point::Dispatch | Point::Reply => Effect::Close,
            Point::Admit | Point::Append => Effect::Error(ErrorCode::KafkaStorageError),
            Point::Decide | Point::Publish | Point::Task => Effect::Panic,
        };
        Fault {
            point,
            api: None,
            topic: None,
            group: None,
            client: None,
            nth: 1,
            probability: 1.0,
            seed: 0,
            times: 1,
            effect,
        }
    }

    /// The same for what happens in one topic, such as `__consumer_offsets`.
    pub fn within(point: Point, topic: &str) -> Fault {
        Fault {
            topic: Some(topic.into()),
            ..Fault::at(point)
        }
    }

    /// The same with another effect.
    pub fn with(self, effect: Effect) -> Fault {
        Fault { effect, ..self }
    }

    /// Whether it can happen: its point knows all that it asks for, and has such an effect.
    fn check(&self) -> Result<(), UnfitFault> {
        use Effect::*;
        let (effects, knows_request, knows_topic) = match self.point {
            Point::Accept => (matches!(self.effect, Close | Delay(_) | Hang), false, false),
            Point::Dispatch => (!matches!(self.effect, Truncate(_) | Panic), true, true),
            Point::Reply => (!matches!(self.effect, Panic), true, true),
            Point::Admit | Point::Append => (matches!(self.effect, Error(_)), false, true),
            Point::Decide | Point::Publish | Point::Task => {
                (matches!(self.effect, Panic), false, true)
            }
        };
        let of_request = self.api.is_some() || self.group.is_some() || self.client.is_some();
        let unfit = if !effects {
            "its point has no such effect"
        } else if matches!(self.effect, Error(ErrorCode::None)) {
            "no error is no fault"
        } else if matches!(self.effect, Delay(ms) if ms < 0) {
            "a delay cannot be negative"
        } else if of_request && !knows_request {
            "its point knows neither API nor group nor client id"
        } else if self.topic.is_some() && !knows_topic {
            "its point knows no topic"
        } else if self.nth == 0 || self.times == 0 {
            "it would never strike"
        } else if !(0.0..=1.0).contains(&self.probability) {
            "a probability is from 0 to 1"
        } else {
            return Ok(());
        };
        Err(UnfitFault(unfit))
    }

    fn is_meant(&self, point: Point, passing: &Passing<'_>) -> bool {
        let names = |wanted: &Option<Box<str>>, named: &[&str]| {
            wanted
                .as_deref()
                .is_none_or(|wanted| named.contains(&wanted))
        };
        self.point == point
            && self.api.is_none_or(|api| passing.api == Some(api))
            && names(&self.topic, passing.topics)
            && names(&self.group, passing.groups)
            && (self.client.as_deref()).is_none_or(|client| passing.client == Some(client))
    }
}

/// A fault that cannot happen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitFault(&'static str);

impl fmt::Display for UnfitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fault cannot happen: {}", self.0)
    }
}

impl std::error::Error for UnfitFault {}

/// What passes a point, as far as the point knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passing<'a> {
    /// API key.
    pub api: Option<i16>,
    /// Client id.
    pub client: Option<&'a str>,
    /// Names of topics.
    pub topics: &'a [&'a str],
    /// Group ids.
    pub groups: &'a [&'a str],
}

struct Armed {
    fault: Fault,
    /// Occurrences that have passed.
    passed: u32,
    chance: u64,
}

impl Armed {
    /// Counts an occurrence; whether it is struck.
    fn strikes(&mut self) -> bool {
        self.passed = self.passed.saturating_add(1);
        self.passed >= self.fault.nth && self.draw() < self.fault.probability
    }

    /// The next of a row of numbers from 0 to below 1 (SplitMix64).
    fn draw(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What is armed.
#[derive(Default)]
pub struct Faults {
    count: AtomicUsize,
    armed: Mutex<Vec<Armed>>,
}

impl Faults {
    /// Arms a fault behind those that are armed already: an occurrence is struck by the first that is meant for it and
    /// not seen by those behind that one. So a fault that is armed twice strikes two times.
    pub fn arm(&self, fault: Fault) -> Result<(), UnfitFault> {
        fault.check()?;
        let mut armed = lock(&self.armed);
        armed.push(Armed {
            chance: fault.seed,
            passed: 0,
            fault,
        });
        self.count.store(armed.len(), Relaxed);
        Ok(())
    }

    /// What is armed now, with the times that are left.
    pub fn armed(&self) -> Vec<Fault> {
        let armed = lock(&self.armed);
        armed.iter().map(|armed| armed.fault.clone()).collect()
    }

    /// Takes all faults back that have not struck yet. What waits by one already goes on waiting.
    pub fn disarm(&self) {
        lock(&self.armed).clear();
        self.count.store(0, Relaxed);
    }

    /// Whether anything is armed: all that a point costs while nothing is.
    pub fn any_armed(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// What goes wrong here and now.
    pub fn strike(&self, point: Point, passing: &Passing<'_>) -> Option<Effect> {
        match self.any_armed() {
            true => self.take(point, passing),
            false => None,
        }
    }

    /// The same where no more is known than a topic, and what is an error there.
    pub fn refusal(&self, point: Point, topic: &str) -> Result<(), ErrorCode> {
        let topics = [topic];
        let passing = Passing {
            topics: &topics,
            ..Passing::default()
        };
        match self.strike(point, &passing) {
            None => Ok(()),
            Some(Effect::Error(code)) => Err(code),
            Some(_) => Err(ErrorCode::KafkaStorageError),
        }
    }

    /// Panics where a fault is armed to do so.
    pub fn panic_point(&self, point: Point, topic: &str) {
        assert!(self.refusal(point, topic).is_ok(), "a fault was armed");
    }

    #[cold]
    fn take(&self, point: Point, passing: &Passing<'_>) -> Option<Effect> {
        let mut armed = lock(&self.armed);
        let at = armed
            .iter_mut()
            .position(|armed| armed.fault.is_meant(point, passing) && armed.strikes())?;
        let fault = &mut armed[at].fault;
        let effect = fault.effect;
        fault.times -= 1;
        if fault.times == 0 {
            armed.remove(at);
            self.count.store(armed.len(), Relaxed);
        }
        Some(effect)
    }
}
