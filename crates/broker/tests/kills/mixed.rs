//! Members of both protocols share a group whose broker is killed again and again, while the oldest member makes room for a
//! new one in each life, so that the group changes between the kinds: what was read and committed stays so, nobody reads
//! what another reads, and nothing that was written goes unread.

use super::process::server::Server;
use super::{DEADLINE, kills, member_options};
use rustka_client::{
    Client, GroupConsumer, GroupOptions, GroupProtocol, NewRecord, ProduceOptions, Producer,
};
use rustka_storage::testing::Folder;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const MEMBERS: usize = 3;
const PARTITIONS: i32 = 6;
/// Members of either protocol come in rows as long as this, so that at times the group has one kind alone.
const ROW: usize = 4;
/// Values that are read before a broker is killed, and values that it is killed with.
const CALM: usize = 20;

/// What all members together have read and committed.
#[derive(Default)]
struct Read {
    values: Mutex<BTreeSet<String>>,
    /// Behind the last record of each partition of which somebody was told that it is committed.
    committed: Mutex<BTreeMap<i32, i64>>,
    more: Notify,
}

impl Read {
    /// Waits until everybody together has read all of these, which are in a topic of this broker.
    async fn has(&self, wanted: &BTreeSet<String>, client: &Client) {
        let all = async {
            loop {
                let more = self.more.notified();
                if wanted.is_subset(&self.values.lock().expect("values")) {
                    return;
                }
                more.await;
            }
        };
        if tokio::time::timeout(DEADLINE, all).await.is_err() {
            let read = self.values.lock().expect("values").clone();
            let unread: Vec<_> = wanted.difference(&read).collect();
            let group = client.describe_any_group("g").await;
            let committed = client.committed("g").await;
            panic!("nobody has read {unread:?}; {group:?}; committed: {committed:?}");
        }
    }
}

/// A member at work, until it is told to leave.
struct Member {
    quits: Arc<AtomicBool>,
    work: JoinHandle<()>,
}

impl Member {
    fn start(client: &Client, protocol: GroupProtocol, read: &Arc<Read>) -> Member {
        let options = GroupOptions {
            session_ms: 30_000,
            ..member_options(protocol)
        };
        let member = GroupConsumer::new(client, "g", &["t"], options);
        let quits = Arc::new(AtomicBool::new(false));
        let work = tokio::spawn(work(member, read.clone(), quits.clone()));
        Member { quits, work }
    }

    async fn leave(self) {
        self.quits.store(true, Relaxed);
        self.work.await.expect("a member that never fails");
    }
}

async fn work(mut member: GroupConsumer, read: Arc<Read>, quits: Arc<AtomicBool>) {
    while !quits.load(Relaxed) {
        let fetched = match member.poll().await {
            Ok(Some(fetched)) => fetched,
            Ok(None) => continue,
            // There is no broker just now.
            Err(error) if error.is_retriable() => continue,
            Err(error) => panic!("{error:?}"),
        };
        let end = fetched.records.last().map_or(0, |record| record.offset + 1);
        let values = fetched
            .records
            .into_iter()
            .map(|record| String::from_utf8(record.value.expect("a value")).expect("text"));
        read.values.lock().expect("values").extend(values);
        // Whatever the group has done meanwhile, the next poll goes on from there.
        if member.commit().await.is_ok() && member.generation().is_some() {
            let mut committed = read.committed.lock().expect("committed");
            let known = committed.entry(fetched.partition).or_default();
            *known = end.max(*known);
        }
        read.more.notify_waiters();
    }
    member.leave().await.expect("somebody who may leave");
}

/// Writes values that are told apart by this life; which of them were confirmed.
async fn write(producer: &mut Producer, life: u64, from: usize) -> BTreeSet<String> {
    let mut written = BTreeSet::new();
    for number in from..from + CALM {
        let value = format!("{life}/{number}");
        let sent = producer
            .send("t", &[NewRecord::value(value.as_str())])
            .await;
        sent.expect("written");
        written.insert(value);
    }
    written
}

/// Nobody is assigned what another is; whether the group is of the new protocol.
async fn look(client: &Client) -> bool {
    let told = client.describe_any_group("g").await.expect("an answer");
    let mut seen = BTreeSet::new();
    for member in &told.members {
        for (topic, partitions) in &member.assigned {
            for partition in partitions {
                let place = (topic.clone(), *partition);
                assert!(seen.insert(place), "{partition} is read twice: {told:?}");
            }
        }
    }
    told.epochs.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_both_protocols_outlives_every_kill() {
    let folder = Folder::new("kills-mixed");
    let mut server = Server::start_to_stay(&folder, &[]);
    let client = server.options().client();
    let topic = client.create_topic("t", PARTITIONS, 1).await;
    topic.expect("a topic");
    let rows = [GroupProtocol::Classic, GroupProtocol::Consumer];
    let mut coming = rows.into_iter().flat_map(|one| [one; ROW]).cycle();
    let read = Arc::new(Read::default());
    let mut members = VecDeque::new();
    let (mut kinds, mut written) = (Vec::new(), BTreeSet::new());
    for life in 0..kills() {
        if members.len() == MEMBERS
            && let Some(oldest) = members.pop_front()
        {
            Member::leave(oldest).await;
        }
        let protocol = coming.next().expect("one after the other");
        members.push_back(Member::start(&client, protocol, &read));
        let mut producer = Producer::new(&client, ProduceOptions::default());
        written.extend(write(&mut producer, life, 0).await);
        read.has(&written, &client).await;
        kinds.push(look(&client).await);
        // It is killed while members read and commit these.
        written.extend(write(&mut producer, life, CALM).await);
        let told = read.committed.lock().expect("committed").clone();
        server = server.killed_and_started(&folder, &[]);
        let committed = client.committed("g").await.expect("an answer");
        for (partition, offset) in told {
            let found = committed.get(&("t".to_owned(), partition));
            let found = found.map(|committed| committed.offset);
            assert!(found >= Some(offset), "{partition}: {found:?} < {offset}");
        }
    }
    read.has(&written, &client).await;
    for member in members {
        member.leave().await;
    }
    drop(server);
    kinds.dedup();
    // The kinds take turns, since members of one protocol come in rows.
    let turns = kinds.len() as u64;
    assert!(turns > kills() / (2 * ROW as u64), "{turns} turns");
}
