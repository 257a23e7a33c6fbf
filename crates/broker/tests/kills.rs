//! The real binary, killed in the middle of its work again and again: whatever was answered to acks=all or acks=1 is there in
//! its next life, once, in order, and where the answer said; groups go on where they were. `RUSTKA_KILLS=1000 cargo test -p rustka --test kills`
//! has it killed so often.

#[path = "kills/groups.rs"]
mod groups;
#[path = "kills/mixed.rs"]
mod mixed;
mod process;

use process::server::Server;
use rustka_client::{
    Client, ConsumeOptions, Consumer, GroupOptions, GroupProtocol, NewRecord, ProduceOptions,
    Producer, Start,
};
use rustka_storage::testing::Folder;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

const KILLS: u64 = 10;
/// Clients that write at the same time, each one record after the other.
const WRITERS: u64 = 3;
/// Reached only by tests that fail.
const DEADLINE: Duration = Duration::from_secs(120);

fn kills() -> u64 {
    let said = std::env::var("RUSTKA_KILLS").ok();
    said.and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

/// A member that reads from the beginning on, soon hears what becomes of its group, and commits when it is told to.
fn member_options(protocol: GroupProtocol) -> GroupOptions {
    GroupOptions {
        protocol,
        heartbeat_ms: 100,
        start: Start::Earliest,
        is_committing: false,
        consume: ConsumeOptions {
            max_wait_ms: 50,
            ..ConsumeOptions::default()
        },
        ..GroupOptions::default()
    }
}

/// What was answered: the value at each offset.
#[derive(Default)]
struct Answered {
    values: Mutex<BTreeMap<i64, String>>,
    more: Notify,
}

impl Answered {
    fn count(&self) -> usize {
        self.values.lock().expect("values").len()
    }
}

/// Writes one record after the other until there is no broker any more.
async fn write(client: Client, life: u64, writer: u64, answered: Arc<Answered>) {
    // What the system has taken outlives the process, synced or not.
    let acks = if writer == 0 { 1 } else { -1 };
    let options = ProduceOptions {
        acks,
        is_idempotent: false,
        ..ProduceOptions::default()
    };
    let mut producer = Producer::new(&client, options);
    for number in 0.. {
        let value = format!("{life}/{writer}/{number}");
        let record = NewRecord::value(value.as_str());
        let Ok(written) = producer.send("t", &[record]).await else {
            return;
        };
        let mut values = answered.values.lock().expect("values");
        let before = values.insert(written[0].offset, value);
        assert_eq!(before, None, "an offset was given out twice");
        drop(values);
        answered.more.notify_one();
    }
}

/// Every value that is there, by its offset.
async fn read_all(client: &Client) -> BTreeMap<i64, String> {
    let options = ConsumeOptions {
        max_wait_ms: 0,
        ..ConsumeOptions::default()
    };
    let mut consumer = Consumer::new(client, options);
    consumer
        .assign_all("t", Start::Earliest)
        .await
        .expect("there");
    let mut values = BTreeMap::new();
    while let Some(fetched) = consumer.poll().await.expect("a poll") {
        for record in fetched.records {
            let value = String::from_utf8(record.value.expect("a value")).expect("text");
            values.insert(record.offset, value);
        }
    }
    values
}

/// Life, writer and number of a value.
fn parts(value: &str) -> (u64, u64, u64) {
    let parts: Vec<u64> = value
        .split('/')
        .map(|part| part.parse().expect("a number"))
        .collect();
    (parts[0], parts[1], parts[2])
}

fn check(found: &BTreeMap<i64, String>, answered: &Answered, lives: u64) {
    for (offset, value) in &*answered.values.lock().expect("values") {
        assert_eq!(
            found.get(offset),
            Some(value),
            "offset {offset}, after {lives} lives"
        );
    }
    let offsets: Vec<i64> = found.keys().copied().collect();
    assert!(
        offsets.iter().copied().eq(0..offsets.len() as i64),
        "there is a gap: {offsets:?}"
    );
    let unique: BTreeSet<&String> = found.values().collect();
    assert_eq!(unique.len(), found.len(), "something was written twice");
    let mut last = BTreeMap::new();
    for value in found.values() {
        let (life, writer, number) = parts(value);
        let expected = last.get(&(life, writer)).map_or(0, |last| last + 1);
        assert_eq!(number, expected, "{value} is out of order");
        last.insert((life, writer), number);
    }
    // Each writer has one record on its way when its broker dies.
    let unanswered = found.len() - answered.count();
    assert!(
        unanswered as u64 <= lives * WRITERS,
        "{unanswered} in {lives} lives"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_every_kill() {
    let kills = kills();
    let folder = Folder::new("kills");
    let answered = Arc::new(Answered::default());
    for life in 1..=kills {
        let server = Server::start(&folder, &[]);
        let client = server.client();
        match life {
            1 => drop(client.create_topic("t", 1, 1).await.expect("a topic")),
            _ => check(&read_all(&client).await, &answered, life - 1),
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(server.client(), life, writer, answered.clone())))
            .collect();
        // Each life is of another length; every tenth ends while what is there is still being opened.
        let more = match life % 10 {
            0 => 0,
            _ => 5 + life * 37 % 100,
        };
        let enough = answered.count() + more as usize;
        let has_enough = async {
            while answered.count() < enough {
                answered.more.notified().await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, has_enough).await;
        in_time.expect("answers in time");
        drop(server);
        for writer in writers {
            writer.await.expect("no writer fails");
        }
    }
    let server = Server::start(&folder, &[]);
    check(&read_all(&server.client()).await, &answered, kills);
}
