//! ElectLeaders (key 43): leaders that were moved come back. A partition whose one replica leads it needs no election.
//! v1 kind of election (KIP-460) · v2 flexible

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::handlers::answer;
use rustka_core::cluster::command::{Command, ElectedTopic, Election, Reply};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::elect_leaders_request::ElectLeadersRequest;
use rustka_wire::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use std::borrow::Cow;

/// Who may not elect anything hears no names of topics.
const DENIED: ErrorCode = ErrorCode::ClusterAuthorizationFailed;

/// Answers per partition once the leaders are there; asked for all, names the topics and in them what was to be done.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: ElectLeadersRequest<'_> = request.decode()?;
    let topics = asked.topic_partitions.as_ref().map(|topics| {
        let topics = topics.iter();
        let named = topics.map(|topic| (Box::<str>::from(&*topic.topic), topic.partitions.clone()));
        named.collect::<Vec<_>>()
    });
    let election = match election(&request, asked.election_type) {
        Ok(election) => election,
        Err(refusal) => {
            let refused = match topics {
                Some(topics) => all_refused(topics, &refusal),
                None if refusal.code == DENIED => Vec::new(),
                None => {
                    let topics = request.node.topics.all();
                    let nothing = topics
                        .iter()
                        .map(|topic| ((*topic.name).into(), Vec::new()));
                    all_refused(nothing.collect(), &refusal)
                }
            };
            let response = response(refused, refusal.code, request.throttle_time_ms());
            return Ok(request.reply(|w| response.encode(w, version)));
        }
    };
    let unanswered = topics.clone().unwrap_or_default();
    let respond = request.respond();
    let command = Command::ElectLeaders { election, topics };
    let answer = request.parts.cluster.call(command);
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let elected = match reply {
            Some(Reply::ElectLeaders(elected)) => elected,
            _ => all_refused(unanswered, &ErrorCode::NotController.into()),
        };
        let throttle_time_ms = respond.throttle_time_ms();
        response(elected, ErrorCode::None, throttle_time_ms).encode(w, version);
    })
}

/// Which kind of election it is, or why none is held for this client, whatever the partition.
fn election(request: &Request<'_>, election_type: i8) -> Result<Election, Refusal> {
    let may = request.check(Operation::Alter, Resource::Cluster);
    may.map_err(denied)?;
    match election_type {
        0 => Ok(Election::Preferred),
        1 => Ok(Election::Unclean),
        unknown => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("Unknown election type {unknown}"),
        )),
    }
}

fn all_refused(topics: Vec<(Box<str>, Vec<i32>)>, refusal: &Refusal) -> Vec<ElectedTopic> {
    let refused = topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter();
        ElectedTopic {
            name,
            partitions: partitions
                .map(|number| (number, Err(refusal.clone())))
                .collect(),
        }
    });
    refused.collect()
}

fn response(
    elected: Vec<ElectedTopic>,
    code: ErrorCode,
    throttle_time_ms: i32,
) -> ElectLeadersResponse<'static> {
    let results = elected.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|(number, outcome)| {
            let refusal = outcome.err();
            PartitionResult {
                partition_id: number,
                error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
                error_message: refusal.and_then(|refusal| refusal.message),
            }
        });
        ReplicaElectionResult {
            topic: Cow::Owned(topic.name.into()),
            partition_result: partitions.collect(),
        }
    });
    ElectLeadersResponse {
        error_code: code.code(),
        replica_election_results: results.collect(),
        throttle_time_ms,
    }
}
