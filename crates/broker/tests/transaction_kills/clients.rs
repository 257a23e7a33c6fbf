//! Clients that go on over the deaths of their broker: writers and copiers of both protocols, two under each transactional
//! id, who fence each other; a plain producer, and readers.

use crate::common::{fetch_request, produce_request};
use crate::producer::{PASSING, Producer, Refused, batch};
use crate::reading;
use crate::run::{COPY, Line, PARTITIONS, Run, SOURCE, TARGET, place};
use rustka_history::history::{OffsetRead, Outcome, Poll, Write};
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use std::collections::BTreeMap;
use std::rc::Rc;

const UNSTABLE_OFFSET_COMMIT: i16 = 88;
/// So long a reader waits for records.
const WAIT_MS: i32 = 5;

/// Writes transactions under an id, as one producer after the other.
pub async fn write(run: Rc<Run>, id: &'static str, newer: bool) {
    while !run.is_stopping() {
        let mut me = Producer::arrive(run.clone(), id, newer).await;
        while !run.is_stopping() && !run.one_in(8) {
            let at = run.begin(Some(id), me.instance);
            let written = write_some(&mut me, at).await;
            if me.finish(at, written).await.is_err() {
                break;
            }
        }
        run.rest().await;
    }
}

async fn write_some(me: &mut Producer, at: usize) -> Result<(), Refused> {
    let run = me.line.run.clone();
    me.add((0..PARTITIONS).collect()).await?;
    for _ in 0..=run.below(3) {
        let count = 1 + run.below(3) as usize;
        me.write(at, run.partition(), &vec![None; count]).await?;
    }
    Ok(())
}

/// Copies what plain producers write: from where its group is, each record once.
pub async fn copy(run: Rc<Run>, newer: bool) {
    while !run.is_stopping() {
        let mut me = Producer::arrive(run.clone(), COPY, newer).await;
        while !run.is_stopping() && !run.one_in(8) {
            let from = run.partition();
            let offset = offset_of(&mut me.line, COPY, from).await.unwrap_or(0);
            let poll = look(&mut me.line, (SOURCE, from), offset, true, 0).await;
            if poll.records.is_empty() {
                run.pause().await;
                continue;
            }
            let at = run.begin(Some(COPY), me.instance);
            let copied = copy_some(&mut me, at, from, &poll).await;
            if me.finish(at, copied).await.is_err() {
                break;
            }
        }
        run.rest().await;
    }
}

async fn copy_some(me: &mut Producer, at: usize, from: i32, poll: &Poll) -> Result<(), Refused> {
    let run = me.line.run.clone();
    let count = poll.records.len().min(1 + run.below(4) as usize);
    let records = &poll.records[..count];
    run.note(at, |it| {
        it.reads.extend(records.iter().map(|(_, value)| *value))
    });
    let sources: Vec<Option<u64>> = records.iter().map(|(_, value)| Some(*value)).collect();
    let to = run.partition();
    me.add(vec![to]).await?;
    me.write(at, to, &sources).await?;
    let next = records.last().map_or(0, |(offset, _)| offset + 1);
    me.commit_offset(at, from, next).await
}

/// From where a group goes on, as soon as no open transaction may change that.
async fn offset_of(line: &mut Line, group: &str, partition: i32) -> Option<i64> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned().into(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: SOURCE.into(),
                partition_indexes: vec![partition],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        require_stable: true,
        ..Default::default()
    };
    loop {
        let began = line.run.tick();
        let (answer, _) = line.ask(9, &request).await;
        let body = answer.body().expect("an answer");
        let told = &body.groups[0].topics[0].partitions[0];
        match told.error_code {
            0 => {
                let offset = Some(told.committed_offset).filter(|offset| *offset >= 0);
                let ended = line.run.tick();
                line.run.history.borrow_mut().offset_reads.push(OffsetRead {
                    began,
                    ended,
                    group: group.to_owned(),
                    place: place(SOURCE, partition),
                    offset,
                });
                return offset;
            }
            UNSTABLE_OFFSET_COMMIT => line.run.pause().await,
            code => {
                assert!(PASSING.contains(&code), "{code}");
                line.run.pause().await;
            }
        }
    }
}

/// Looks at a partition, and writes down what was seen.
async fn look(
    line: &mut Line,
    (topic, partition): (&str, i32),
    from: i64,
    committed: bool,
    wait_ms: i32,
) -> Poll {
    let request = FetchRequest {
        isolation_level: committed.into(),
        ..fetch_request(topic, partition, from, wait_ms)
    };
    let began = line.run.tick();
    let (answer, _) = line.ask(12, &request).await;
    let body = answer.body().expect("an answer");
    let told = &body.responses[0].partitions[0];
    assert_eq!(told.error_code, 0);
    let times = (began, line.run.tick());
    let poll = reading::poll(times, place(topic, partition), from, committed, told);
    line.run.history.borrow_mut().polls.push(poll.clone());
    poll
}

/// Writes records without transactions, and never one twice.
pub async fn feed(run: Rc<Run>) {
    let mut line = Line::new(run.clone());
    for instance in 0.. {
        if run.is_stopping() {
            return;
        }
        let at = run.begin(None, instance);
        let (value, partition) = (run.value(), run.partition());
        run.note(at, |it| {
            it.writes.push(Write {
                value,
                source: None,
                place: place(SOURCE, partition),
                outcome: Outcome::Unknown,
                offset: None,
            });
        });
        let request = produce_request(SOURCE, partition, batch(&[value], None));
        if let Some(answer) = line.try_ask(11, &request).await {
            let body = answer.body().expect("an answer");
            let told = &body.responses[0].partition_responses[0];
            assert_eq!(told.error_code, 0);
            run.note(at, |it| {
                let write = &mut it.writes[0];
                (write.outcome, write.offset) = (Outcome::Done, Some(told.base_offset));
            });
            run.over(at, Outcome::Done);
        }
        run.pause().await;
    }
}

/// Reads all partitions side by side, and once in a while anew from the beginning.
pub async fn read(run: Rc<Run>, committed: bool) {
    let mut line = Line::new(run.clone());
    let mut next: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    while !run.is_stopping() {
        for topic in [SOURCE, TARGET] {
            for partition in 0..PARTITIONS {
                let from = next.entry((topic, partition)).or_default();
                if run.one_in(200) {
                    *from = 0;
                }
                let seen = look(&mut line, (topic, partition), *from, committed, WAIT_MS).await;
                *from = seen.next;
            }
        }
    }
}

/// Ends what nobody will end any more, and reads everything.
pub async fn come_to_rest(run: &Rc<Run>) {
    for id in ["newer", "older", COPY] {
        // Whatever is open is aborted for the one who arrives.
        Producer::arrive(run.clone(), id, true).await;
    }
    let mut line = Line::new(run.clone());
    run.history.borrow_mut().quiet_from = Some(run.tick());
    for committed in [true, false] {
        for topic in [SOURCE, TARGET] {
            for partition in 0..PARTITIONS {
                let mut from = 0;
                loop {
                    let seen = look(&mut line, (topic, partition), from, committed, 0).await;
                    if seen.next >= seen.high || seen.next == from {
                        break;
                    }
                    from = seen.next;
                }
            }
        }
    }
    for partition in 0..PARTITIONS {
        offset_of(&mut line, COPY, partition).await;
    }
}
