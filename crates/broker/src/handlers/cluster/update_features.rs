//! UpdateFeatures (key 57): levels of features, all changed or none (KIP-584).
//! v1 upgrade types and validation only (KIP-778) · v2 no result per feature

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::handlers::answer;
use rustka_core::cluster::command::{Command, Direction, Reply, UpdateFeature};
use rustka_core::error::ErrorCode;
use rustka_wire::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use rustka_wire::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};
use std::borrow::Cow;

/// Makes all updates, or refuses them for the first one that cannot be made.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: UpdateFeaturesRequest<'_> = request.decode()?;
    if let Err(code) = request.check(Operation::Alter, Resource::Cluster) {
        let response = UpdateFeaturesResponse {
            error_code: code.code(),
            error_message: denied(code).message,
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        };
        return Ok(request.reply(|w| response.encode(w, version)));
    }
    let updates = asked.feature_updates.iter().map(|update| UpdateFeature {
        name: update.feature.to_string(),
        level: update.max_version_level,
        direction: direction(update, version),
    });
    let command = Command::UpdateFeatures {
        updates: updates.collect(),
        validate_only: asked.validate_only,
    };
    let names: Vec<String> = asked
        .feature_updates
        .iter()
        .map(|update| update.feature.to_string())
        .collect();
    let respond = request.respond();
    let answer = request.parts.cluster.call(command);
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let result = match reply {
            Some(Reply::UpdateFeatures(result)) => result,
            _ => Err(ErrorCode::NotController.into()),
        };
        let mut response = UpdateFeaturesResponse {
            error_message: None,
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        match result {
            // Up to version 1 each is named.
            Ok(()) if version < 2 => {
                let updated = |name: &String| UpdatableFeatureResult {
                    feature: Cow::Owned(name.clone()),
                    // Kafka puts a text there even when all is well.
                    error_message: Some(Cow::Borrowed("NONE")),
                    ..Default::default()
                };
                response.results = names.iter().map(updated).collect();
            }
            Ok(()) => {}
            Err(refusal) => {
                response.error_code = refusal.code.code();
                response.error_message = refusal.message;
            }
        }
        response.encode(w, version);
    })
}

/// Which way it goes. Version 0 only says whether it may go down.
fn direction(update: &FeatureUpdateKey<'_>, version: i16) -> Option<Direction> {
    match (version, update.allow_downgrade) {
        (0, false) => Some(Direction::Upgrade),
        (0, true) => Some(Direction::SafeDowngrade),
        _ => Direction::from_code(update.upgrade_type),
    }
}
