//! What a row of the table of APIs says.

use crate::api::request::{Outcome, Request};
use crate::base::config::NamedResource;
use crate::node::Node;
use rustka_wire::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use rustka_wire::push_telemetry_request::PushTelemetryRequest;

/// One API that this broker serves.
pub struct Api {
    /// API key.
    pub key: i16,
    /// Lowest version that ApiVersions tells.
    pub min: i16,
    /// Highest version served.
    pub max: i16,
    /// Who answers.
    pub handler: fn(Request<'_>) -> Outcome,
}

/// Whether clients are told of this API now: those for their metrics only while there are subscriptions to any.
pub fn is_offered(node: &Node, key: i16) -> bool {
    match key {
        GetTelemetrySubscriptionsRequest::KEY | PushTelemetryRequest::KEY => {
            node.config.has_any(NamedResource::ClientMetrics)
        }
        _ => true,
    }
}
