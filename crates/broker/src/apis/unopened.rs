//! Requests for partitions that a start has not opened yet wait until the first of them is there. Those that are there
//! are then served; for others, as after [`WAIT_MS`], clients are told to ask again.

use crate::api::request::{Outcome, Parked, Request};
use crate::node::{Node, State, reached};
use rustka_core::config::DAMAGED_SKIP;
use rustka_storage::Partition;
use rustka_storage::waiters::Waiter;
use rustka_wire::alter_configs_request::AlterConfigsRequest;
use rustka_wire::codec::Uuid;
use rustka_wire::delete_records_request::DeleteRecordsRequest;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::incremental_alter_configs_request::IncrementalAlterConfigsRequest;
use rustka_wire::list_offsets_request::ListOffsetsRequest;
use rustka_wire::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use rustka_wire::produce_request::ProduceRequest;
use std::future::poll_fn;
use std::sync::Arc;

/// No request waits longer: clients give up on a connection that is silent for 30 seconds.
const WAIT_MS: i64 = 10_000;
/// Those of so many partitions are waited for, each in vain; all of them are opened first.
const AWAITED_MAX: usize = 10_000;

/// Has the partitions opened first that a request asks for. Where none of them is open yet, it waits, and is handed to
/// `serve` then; else it comes back.
#[cold]
pub fn park<'a>(
    request: Request<'a>,
    serve: fn(Request<'_>) -> Outcome,
) -> Result<Outcome, Request<'a>> {
    let (asked, until) = asked(&request);
    let opening = asked.iter().filter(|partition| partition.is_opening());
    let opening: Vec<_> = opening.take(AWAITED_MAX).cloned().collect();
    opening.iter().for_each(|partition| partition.hurry());
    let has_enough = until == Until::First && opening.len() < asked.len();
    if opening.is_empty() || has_enough {
        return Err(request);
    }
    Ok(Outcome::Park(later(request, opening, until, serve)))
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// One of its partitions is open.
    First,
    /// All of them are: it is about what is known of them together.
    All,
}

fn later(
    request: Request<'_>,
    opening: Vec<Arc<Partition>>,
    until: Until,
    serve: fn(Request<'_>) -> Outcome,
) -> Parked {
    let (node, kept) = (request.node.clone(), request.keep());
    Box::pin(async move {
        wait(&node, &opening, until).await;
        kept.serve(serve)
    })
}

/// Waits until they are open as far as is needed, the time is over or the broker stops.
async fn wait(node: &Node, opening: &[Arc<Partition>], until: Until) {
    let until_ms = node.clock.monotonic_ms().saturating_add(WAIT_MS);
    let mut state = node.state.subscribe();
    let opened = async {
        match until {
            Until::First => Places(opening, Waiter::new()).first().await,
            Until::All => {
                for partition in opening {
                    partition.opened().await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = reached(&mut state, |state| state >= State::Stopping) => {}
        () = opened => {}
        () = node.clock.sleep_until(until_ms) => {}
    }
}

/// Places among those who wait for partitions, given up in whatever way the waiting ends.
struct Places<'a>(&'a [Arc<Partition>], Arc<Waiter>);

impl Places<'_> {
    async fn first(&self) {
        loop {
            self.1.rearm();
            if !self.0.iter().all(|one| one.await_opening(&self.1)) {
                return;
            }
            // It may be woken by whatever else changes a partition.
            poll_fn(|cx| self.1.poll_fired(cx)).await;
            self.give_up();
        }
    }

    fn give_up(&self) {
        self.0.iter().for_each(|one| one.unregister(&self.1));
    }
}

impl Drop for Places<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The partitions that a request names, if it is one about records or damage. What cannot be read names none.
fn asked(request: &Request<'_>) -> (Vec<Arc<Partition>>, Until) {
    let mut named = Named {
        node: request.node,
        found: Vec::new(),
    };
    let version = request.header.version;
    match request.header.api {
        ProduceRequest::KEY => {
            let asked: Option<ProduceRequest<'_>> = request.decode().ok();
            for topic in asked.iter().flat_map(|asked| &asked.topic_data) {
                let each = topic.partition_data.iter().map(|one| one.index);
                named.add(version >= 13, &topic.name, topic.topic_id, each);
            }
        }
        FetchRequest::KEY => {
            let asked: Option<FetchRequest<'_>> = request.decode().ok();
            for topic in asked.iter().flat_map(|asked| &asked.topics) {
                let each = topic.partitions.iter().map(|one| one.partition);
                named.add(version >= 13, &topic.topic, topic.topic_id, each);
            }
        }
        ListOffsetsRequest::KEY => {
            let asked: Option<ListOffsetsRequest<'_>> = request.decode().ok();
            for topic in asked.iter().flat_map(|asked| &asked.topics) {
                let each = topic.partitions.iter().map(|one| one.partition_index);
                named.add(false, &topic.name, Uuid::ZERO, each);
            }
        }
        OffsetForLeaderEpochRequest::KEY => {
            let asked: Option<OffsetForLeaderEpochRequest<'_>> = request.decode().ok();
            for topic in asked.iter().flat_map(|asked| &asked.topics) {
                let each = topic.partitions.iter().map(|one| one.partition);
                named.add(false, &topic.topic, Uuid::ZERO, each);
            }
        }
        DeleteRecordsRequest::KEY => {
            let asked: Option<DeleteRecordsRequest<'_>> = request.decode().ok();
            for topic in asked.iter().flat_map(|asked| &asked.topics) {
                let each = topic.partitions.iter().map(|one| one.partition_index);
                named.add(false, &topic.name, Uuid::ZERO, each);
            }
        }
        IncrementalAlterConfigsRequest::KEY => {
            let asked: Option<IncrementalAlterConfigsRequest<'_>> = request.decode().ok();
            for resource in asked.iter().flat_map(|asked| &asked.resources) {
                let configs = resource.configs.iter().map(|config| &*config.name);
                named.add_skipping(&resource.resource_name, configs);
            }
            return (named.found, Until::All);
        }
        AlterConfigsRequest::KEY => {
            let asked: Option<AlterConfigsRequest<'_>> = request.decode().ok();
            for resource in asked.iter().flat_map(|asked| &asked.resources) {
                let configs = resource.configs.iter().map(|config| &*config.name);
                named.add_skipping(&resource.resource_name, configs);
            }
            return (named.found, Until::All);
        }
        _ => {}
    }
    (named.found, Until::First)
}

struct Named<'a> {
    node: &'a Node,
    found: Vec<Arc<Partition>>,
}

impl Named<'_> {
    fn add(&mut self, by_id: bool, name: &str, id: Uuid, each: impl Iterator<Item = i32>) {
        let Ok(topic) = self.node.topics.named(by_id, name, id) else {
            return;
        };
        let found = each.filter_map(|index| topic.partition(index).cloned());
        self.found.extend(found);
    }

    /// All of a topic, if among the configs that are set is what is passed over of it.
    fn add_skipping<'c>(&mut self, name: &str, mut configs: impl Iterator<Item = &'c str>) {
        if configs.all(|config| config != DAMAGED_SKIP) {
            return;
        }
        let topic = self.node.topics.by_name(name);
        let found = topic.iter().flat_map(|topic| &topic.partitions);
        self.found.extend(found.cloned());
    }
}
