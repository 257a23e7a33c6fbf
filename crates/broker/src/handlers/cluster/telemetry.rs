//! GetTelemetrySubscriptions (key 71) and PushTelemetry (key 72): metrics that clients push (KIP-714). Offered while
//! somebody has subscribed to any; what arrives is checked and counted.

use crate::api::request::{Handled, Request};
use crate::base::hooks::Software;
use crate::base::random;
use crate::node::Peer;
use rustka_core::compression::{Codec, decompress};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::telemetry::Push;
use rustka_wire::codec::Uuid;
use rustka_wire::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use rustka_wire::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
use rustka_wire::push_telemetry_request::PushTelemetryRequest;
use rustka_wire::push_telemetry_response::PushTelemetryResponse;
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

/// The codecs that we take, best first.
const CODECS: [Codec; 4] = [Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Snappy];

/// Tells a client which metrics to push how often.
pub fn get(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: GetTelemetrySubscriptionsRequest = request.decode()?;
    let node = request.node;
    let id = match asked.client_instance_id.is_zero() {
        true => random::uuid(),
        false => asked.client_instance_id,
    };
    let now_ms = node.clock.monotonic_ms();
    let subscriptions = node.config.subscriptions();
    let wanted = request.parts.telemetry().get(
        id.0,
        &subscriptions,
        |selector| known(selector, id, request.client_id(), request.peer()),
        now_ms,
    );
    let max = node.config.settings().telemetry_bytes_max;
    let response = match wanted {
        Ok(wanted) => GetTelemetrySubscriptionsResponse {
            client_instance_id: id,
            subscription_id: wanted.subscription_id,
            accepted_compression_types: CODECS.map(|codec| codec.id() as i8).to_vec(),
            push_interval_ms: wanted.interval_ms,
            telemetry_max_bytes: max,
            delta_temporality: true,
            requested_metrics: wanted
                .metrics
                .into_iter()
                .map(|prefix| Cow::Owned(prefix.into()))
                .collect(),
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        },
        Err(refusal) => GetTelemetrySubscriptionsResponse {
            error_code: refusal.code.code(),
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        },
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

/// Takes a client's metrics.
pub fn push(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: PushTelemetryRequest<'_> = request.decode()?;
    let response = PushTelemetryResponse {
        error_code: match take(&request, &asked) {
            Ok(()) => 0,
            Err(refusal) => refusal.code.code(),
        },
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

fn take(request: &Request<'_>, asked: &PushTelemetryRequest<'_>) -> Result<(), Refusal> {
    let node = request.node;
    let id = asked.client_instance_id;
    if id.is_zero() {
        return Err(ErrorCode::InvalidRequest.into());
    }
    let max = node.config.settings().telemetry_bytes_max;
    let bytes_max = usize::try_from(max).unwrap_or(0);
    let push = Push {
        subscription_id: asked.subscription_id,
        terminating: asked.terminating,
        codec: asked.compression_type,
        bytes: asked.metrics.len(),
        bytes_max,
    };
    let now_ms = node.clock.monotonic_ms();
    let subscriptions = node.config.subscriptions();
    request.parts.telemetry().push(
        id.0,
        push,
        &subscriptions,
        |selector| known(selector, id, request.client_id(), request.peer()),
        now_ms,
    )?;
    let codec = u8::try_from(asked.compression_type)
        .ok()
        .and_then(Codec::from_id);
    let codec = codec.ok_or(ErrorCode::UnsupportedCompressionType)?;
    if asked.metrics.is_empty() {
        return Ok(());
    }
    let metrics = decompress(codec, &asked.metrics, bytes_max);
    let metrics = metrics.map_err(|_| ErrorCode::InvalidRecord)?;
    node.metrics.telemetry_pushes.fetch_add(1, Relaxed);
    let bytes = u64::try_from(metrics.len()).unwrap_or(u64::MAX);
    node.metrics.telemetry_bytes.fetch_add(bytes, Relaxed);
    Ok(())
}

/// What a subscription may select clients by.
fn known<'a>(selector: &str, id: Uuid, client_id: &'a str, peer: &Peer) -> Cow<'a, str> {
    let software = |part: fn(&Software) -> &String| {
        let software = peer.software();
        Cow::Owned(software.map_or_else(|| "unknown".to_owned(), |known| part(&known).clone()))
    };
    match selector {
        "client_id" => Cow::Borrowed(client_id),
        "client_instance_id" => Cow::Owned(id.to_string()),
        "client_software_name" => software(|software| &software.name),
        "client_software_version" => software(|software| &software.version),
        "client_source_address" => Cow::Owned(peer.address.ip().to_string()),
        "client_source_port" => Cow::Owned(peer.address.port().to_string()),
        _ => Cow::Borrowed(""),
    }
}
