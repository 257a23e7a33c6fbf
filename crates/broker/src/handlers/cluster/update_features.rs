//! UpdateFeatures (key 57): levels of features that this broker has none of, so every update is refused in Kafka's
//! words (KIP-584).
//! v1 upgrade types and validation only (KIP-778) · v2 no result per feature

use crate::api::access::denied;
use crate::api::request::{Outcome, Request};
use crate::base::features;
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::ErrorCode;
use rustka_wire::codec::Reader;
use rustka_wire::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use rustka_wire::update_features_response::UpdateFeaturesResponse;
use std::borrow::Cow;

/// Upgrade, safe and unsafe downgrade.
const UPGRADE_TYPES: [i8; 3] = [1, 2, 3];

/// Refuses all updates for the first one that cannot be made.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked = match UpdateFeaturesRequest::decode(&mut Reader::new(request.body()), version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
    if let Err(code) = request.check(Operation::Alter, Resource::Cluster) {
        let response = UpdateFeaturesResponse {
            error_code: code.code(),
            error_message: denied(code).message,
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        };
        return request.reply(|w| response.encode(w, version));
    }
    let response = match asked.feature_updates.first() {
        None => UpdateFeaturesResponse {
            error_message: None,
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        },
        Some(update) => UpdateFeaturesResponse {
            error_code: ErrorCode::InvalidUpdateVersion.code(),
            error_message: Some(Cow::Owned(format!(
                "No feature was updated: version {} of feature '{}' is not possible, {}.",
                update.max_version_level,
                update.feature.escape_debug().take(200).collect::<String>(),
                why_not(update)
            ))),
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        },
    };
    request.reply(|w| response.encode(w, version))
}

fn why_not(update: &FeatureUpdateKey<'_>) -> &'static str {
    if !UPGRADE_TYPES.contains(&update.upgrade_type) {
        return "the upgrade type is not known";
    }
    match (update.max_version_level, features::find(&update.feature)) {
        (..0, _) => "a version cannot be less than 0",
        (0, _) => "it is not finalized",
        (_, None) => "this broker does not have that feature",
        (_, Some(_)) => "its level cannot be changed while the broker runs",
    }
}
