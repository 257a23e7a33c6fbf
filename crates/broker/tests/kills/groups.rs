//! A member of a group reads and commits, and an idempotent producer writes, while their broker is killed again and again:
//! the member stays in its generation, reads each record once, and what was seen of records and offsets is judged.

use super::process::server::Server;
use super::{DEADLINE, kills, member_options};
use rustka_client::{
    Client, ConsumeOptions, Consumer, GroupConsumer, GroupProtocol, NewRecord, ProduceOptions,
    Producer, Start,
};
use rustka_history::check;
use rustka_history::history::{
    History, OffsetRead, OffsetWrite, Outcome, Poll, Transaction, Write,
};
use rustka_storage::testing::Folder;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

const GROUP: &str = "g";
const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;

/// What is written down by all who take part.
struct Notes {
    history: Mutex<History>,
    tick: watch::Sender<u64>,
    written: AtomicUsize,
    /// No more is to be written.
    stops: AtomicBool,
    /// No more will be: what was on its way is in `written`.
    has_stopped: AtomicBool,
}

impl Notes {
    fn new() -> Arc<Notes> {
        Arc::new(Notes {
            history: Mutex::default(),
            tick: watch::Sender::new(0),
            written: AtomicUsize::new(0),
            stops: AtomicBool::new(false),
            has_stopped: AtomicBool::new(false),
        })
    }

    fn tick(&self) -> u64 {
        let mut now = 0;
        self.tick.send_modify(|tick| {
            *tick += 1;
            now = *tick;
        });
        now
    }

    /// Waits until so many more things have happened.
    async fn pass(&self, ticks: u64) {
        let mut seen = self.tick.subscribe();
        let until = *seen.borrow() + ticks;
        let passed = seen.wait_for(|now| *now >= until);
        let in_time = tokio::time::timeout(DEADLINE, passed).await;
        in_time.expect("clients at work").expect("ticks");
    }

    fn add(&self, transaction: Transaction) {
        let mut history = self.history.lock().expect("a history");
        history.transactions.push(transaction);
    }
}

/// Writes one to five records at a time, and does so again until it is told where they are.
async fn write(client: Client, notes: Arc<Notes>) {
    let mut producer = Producer::new(&client, ProduceOptions::default());
    let mut value = 0;
    while !notes.stops.load(SeqCst) {
        let values: Vec<u64> = (0..=value % 5).map(|n| value + n).collect();
        value += values.len() as u64;
        let texts: Vec<String> = values.iter().map(u64::to_string).collect();
        let records: Vec<_> = texts
            .iter()
            .map(|text| NewRecord::value(text.as_str()))
            .collect();
        let mut sent = Transaction::begun(None, 0, notes.tick());
        let places = producer.send(TOPIC, &records).await.expect("written");
        let writes = values.iter().zip(&places).map(|(value, at)| Write {
            value: *value,
            source: None,
            place: at.partition as u32,
            outcome: Outcome::Done,
            offset: Some(at.offset),
        });
        sent.writes.extend(writes);
        (sent.outcome, sent.ended) = (Outcome::Done, Some(notes.tick()));
        notes.add(sent);
        notes.written.fetch_add(values.len(), SeqCst);
    }
    notes.has_stopped.store(true, SeqCst);
}

/// Reads until everything that was written is read and committed, in one generation; in how many polls.
async fn read(mut member: GroupConsumer, notes: Arc<Notes>, joined: watch::Sender<bool>) {
    let (mut next, mut committed) = (BTreeMap::new(), BTreeMap::new());
    let (mut generation, mut count) = (None, 0);
    loop {
        let is_over = notes.has_stopped.load(SeqCst) && count == notes.written.load(SeqCst);
        if is_over && next == committed {
            break;
        }
        if !is_over {
            let began = notes.tick();
            match member.poll().await {
                Ok(Some(fetched)) => {
                    let poll = poll(&fetched, began, notes.tick(), &mut next);
                    count += poll.records.len();
                    notes.history.lock().expect("a history").polls.push(poll);
                }
                Ok(None) => continue,
                Err(error) => assert!(error.is_retriable(), "{error:?}"),
            }
        }
        generation = generation.or(member.generation());
        assert_eq!(member.generation(), generation, "it never left its group");
        joined.send_replace(true);
        commit(&mut member, &notes, &next, &mut committed).await;
    }
    member.leave().await.expect("somebody who may leave");
}

/// What was handed out, which begins where the last one ended.
fn poll(
    fetched: &rustka_client::Fetched,
    began: u64,
    ended: u64,
    next: &mut BTreeMap<i32, i64>,
) -> Poll {
    let records = fetched.records.iter().map(|record| {
        let value = record.value.as_deref().map(String::from_utf8_lossy);
        let value = value.expect("a value").parse().expect("a number");
        (record.offset, value)
    });
    let records: Vec<(i64, u64)> = records.collect();
    let from = next.get(&fetched.partition).copied().unwrap_or(0);
    let to = records.last().map_or(from, |(offset, _)| offset + 1);
    next.insert(fetched.partition, to);
    Poll {
        began,
        ended,
        place: fetched.partition as u32,
        committed: false,
        from,
        next: to,
        stable: fetched.high_watermark,
        high: fetched.high_watermark,
        records,
    }
}

/// Commits what was read. An answer that does not come leaves open whether it was heard.
async fn commit(
    member: &mut GroupConsumer,
    notes: &Notes,
    next: &BTreeMap<i32, i64>,
    committed: &mut BTreeMap<i32, i64>,
) {
    let asked = notes.tick();
    let mut commit = Transaction::begun(Some(GROUP), 0, asked);
    commit.commit_asked = Some(asked);
    let news = next
        .iter()
        .filter(|(partition, offset)| committed.get(partition) != Some(offset));
    commit
        .offsets
        .extend(news.map(|(partition, offset)| OffsetWrite {
            place: *partition as u32,
            offset: *offset,
        }));
    match member.commit().await {
        Ok(()) => {
            (commit.outcome, commit.ended) = (Outcome::Done, Some(notes.tick()));
            committed.clone_from(next);
        }
        Err(error) => assert!(error.is_retriable(), "{error:?}"),
    }
    notes.add(commit);
}

/// Asks from where the group goes on.
async fn look(client: &Client, notes: &Notes) {
    let began = notes.tick();
    let told = client.committed(GROUP).await.expect("an answer");
    let ended = notes.tick();
    let reads = (0..PARTITIONS).map(|partition| OffsetRead {
        began,
        ended,
        group: GROUP.to_owned(),
        place: partition as u32,
        offset: told.get(&(TOPIC.to_owned(), partition)).map(|at| at.offset),
    });
    let mut history = notes.history.lock().expect("a history");
    history.offset_reads.extend(reads);
}

/// Reads everything, now that nobody writes any more.
async fn come_to_rest(client: &Client, notes: &Notes) {
    let quiet = notes.tick();
    let options = ConsumeOptions {
        max_wait_ms: 0,
        ..ConsumeOptions::default()
    };
    let mut consumer = Consumer::new(client, options);
    let assigned = consumer.assign_all(TOPIC, Start::Earliest).await;
    assigned.expect("there");
    let mut next = BTreeMap::new();
    let mut polls = Vec::new();
    loop {
        let began = notes.tick();
        let Some(fetched) = consumer.poll().await.expect("a poll") else {
            break;
        };
        polls.push(poll(&fetched, began, notes.tick(), &mut next));
    }
    look(client, notes).await;
    let mut history = notes.history.lock().expect("a history");
    history.quiet_from = Some(quiet);
    history.polls.extend(polls);
}

async fn play(protocol: GroupProtocol, kills: u64) -> History {
    let folder = Folder::new(&format!("kills-{protocol:?}"));
    let mut server = Server::start_to_stay(&folder, &[]);
    let client = server.options().client();
    let made = client.create_topic(TOPIC, PARTITIONS, 1).await;
    made.expect("a topic");
    let notes = Notes::new();
    let options = member_options(protocol);
    let (joined, mut is_in) = watch::channel(false);
    let member = GroupConsumer::new(&server.options().client(), GROUP, &[TOPIC], options);
    let reader = tokio::spawn(read(member, notes.clone(), joined));
    let writer = tokio::spawn(write(server.options().client(), notes.clone()));
    let came = tokio::time::timeout(DEADLINE, is_in.wait_for(|joined| *joined)).await;
    came.expect("a member in time").expect("a member");
    for life in 1..=kills {
        // Each life ends somewhere else in what its clients do, every tenth as soon as it is there.
        if life % 10 != 0 {
            notes.pass(20 + life * 37 % 101).await;
        }
        server = server.killed_and_started(&folder, &[]);
        look(&client, &notes).await;
        let told = client.describe_any_group(GROUP).await.expect("an answer");
        assert_eq!(told.members.len(), 1, "{told:?}");
    }
    notes.stops.store(true, SeqCst);
    let end = async {
        writer.await.expect("a writer that never fails");
        reader.await.expect("a member that never fails");
    };
    tokio::time::timeout(DEADLINE, end)
        .await
        .expect("an end in time");
    come_to_rest(&client, &notes).await;
    let history = std::mem::take(&mut *notes.history.lock().expect("a history"));
    drop(server);
    history
}

/// Each record that was written is in what the member was given, once.
fn each_is_read_once(history: &History) {
    let quiet = history.quiet_from.expect("an end");
    let polls = history.polls.iter().filter(|poll| poll.began < quiet);
    let mut read: Vec<u64> = polls
        .flat_map(|poll| poll.records.iter().map(|(_, value)| *value))
        .collect();
    read.sort_unstable();
    assert!(read.iter().copied().eq(0..read.len() as u64), "{read:?}");
    let all = history.transactions.iter().map(|it| it.writes.len());
    assert_eq!(read.len(), all.sum::<usize>());
}

/// Sentry's S13: a broker that dies and comes back finds its groups as they were, and their members go on where they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_both_protocols_go_on_after_every_kill_where_they_were() {
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let history = play(protocol, kills()).await;
        let anomalies = check(&history);
        assert!(anomalies.is_empty(), "{protocol:?}: {anomalies:?}");
        each_is_read_once(&history);
        let commits = history.transactions.iter().filter(|it| it.id.is_some());
        let (heard, open): (Vec<_>, Vec<_>) = commits.partition(|it| it.outcome == Outcome::Done);
        assert!(heard.len() as u64 > kills(), "{protocol:?}");
        let (heard, open) = (heard.len(), open.len());
        println!(
            "{protocol:?}: {} kills, {heard} commits, {open} without an answer",
            kills()
        );
    }
}
