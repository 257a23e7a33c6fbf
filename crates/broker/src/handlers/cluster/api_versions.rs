//! ApiVersions (key 18): what this broker speaks.
//! v3 flexible, client software name and version (KIP-511) · v5 cluster id and node id (KIP-1242)

use crate::api::parts::Parts;
use crate::api::request::{Outcome, Request};
use crate::api::served::is_offered;
use crate::base::features::{FEATURES, Features};
use crate::base::hooks::Software;
use crate::node::{Node, Peer};
use rustka_core::error::ErrorCode;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use rustka_wire::codec::{DecodeError, Reader};
use std::borrow::Cow;

/// Answers with everything in the table of APIs.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let answer = answer(request.parts, request.peer(), version, request.body());
    match answer {
        Ok((mut response, _)) => {
            response.throttle_time_ms = request.throttle_time_ms();
            request.reply(|w| response.encode(w, version))
        }
        Err(error) => error.into(),
    }
}

/// What is told, also before a login, and the error code in it.
pub fn answer(
    parts: &Parts,
    peer: &Peer,
    version: i16,
    body: &[u8],
) -> Result<(ApiVersionsResponse<'static>, ErrorCode), DecodeError> {
    let asked = ApiVersionsRequest::decode(&mut Reader::new(body), version)?;
    let error = check(&parts.node, &asked, version);
    if error == ErrorCode::None && version >= 3 {
        peer.introduce(Software {
            name: asked.client_software_name.to_string(),
            version: asked.client_software_version.to_string(),
        });
    }
    let api_keys = match error {
        ErrorCode::None => parts
            .apis
            .iter()
            .filter(|api| is_offered(&parts.node, api.key))
            .map(|api| row(api.key, api.min, api.max))
            .collect(),
        _ => Vec::new(),
    };
    let response = ApiVersionsResponse {
        error_code: error.code(),
        api_keys,
        supported_features: supported(version),
        finalized_features_epoch: parts.node.features.epoch(),
        finalized_features: finalized(&parts.node.features),
        ..Default::default()
    };
    Ok((response, error))
}

fn row(api_key: i16, min_version: i16, max_version: i16) -> ApiVersion {
    ApiVersion {
        api_key,
        min_version,
        max_version,
    }
}

/// Before version 4 clients do not understand levels that begin at 0 (E6).
fn supported(version: i16) -> Vec<SupportedFeatureKey<'static>> {
    let told = FEATURES
        .iter()
        .filter(|feature| version >= 4 || feature.min > 0);
    let told = told.map(|feature| SupportedFeatureKey {
        name: Cow::Borrowed(feature.name),
        min_version: feature.min,
        max_version: feature.max,
    });
    told.collect()
}

fn finalized(features: &Features) -> Vec<FinalizedFeatureKey<'static>> {
    let told = features.all().into_iter();
    let told = told.map(|(name, level)| FinalizedFeatureKey {
        name: Cow::Owned(name.to_string()),
        max_version_level: level,
        min_version_level: level,
    });
    told.collect()
}

fn check(node: &Node, asked: &ApiVersionsRequest<'_>, version: i16) -> ErrorCode {
    if version >= 3
        && !(is_software(&asked.client_software_name)
            && is_software(&asked.client_software_version))
    {
        return ErrorCode::InvalidRequest;
    }
    // KIP-1242: a client that reaches another cluster or node than it meant must begin again.
    if version >= 5 {
        let (own_cluster, own_id) = (&node.cluster_id, node.id);
        match (&asked.cluster_id, asked.node_id) {
            (None, -1) => {}
            (Some(cluster), node) if node != -1 => {
                if **cluster != *own_cluster || node != own_id {
                    return ErrorCode::RebootstrapRequired;
                }
            }
            // One without the other says nothing.
            _ => return ErrorCode::InvalidRequest,
        }
    }
    ErrorCode::None
}

/// KIP-511: letters and digits, and between them also `-` and `.`.
fn is_software(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// The answer to a version we do not know, in version 0 and without reading the body: only this API's own range (E2).
pub fn unsupported(parts: &Parts) -> ApiVersionsResponse<'static> {
    let own = parts
        .apis
        .iter()
        .find(|api| api.key == ApiVersionsRequest::KEY);
    let api_keys = own
        .map(|api| row(api.key, api.min, api.max))
        .into_iter()
        .collect();
    let error_code = ErrorCode::UnsupportedVersion.code();
    ApiVersionsResponse {
        error_code,
        api_keys,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kip_511() {
        for good in ["librdkafka", "apache-kafka-java", "2.16.0", "a"] {
            assert!(is_software(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "a_b", "é"] {
            assert!(!is_software(bad), "{bad}");
        }
    }
}
