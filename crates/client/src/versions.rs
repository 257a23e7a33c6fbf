//! What a broker speaks, and which version to use.

use std::collections::BTreeMap;

use rustka_core::error::ErrorCode;
use rustka_wire::api::ApiKey;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Connection;
use crate::error::{Reason, Result};
use crate::frame::{Answer, name_of};

/// How a client names its software (KIP-511).
const SOFTWARE: &str = "rustka-client";

/// The requests that a broker answers, each with its versions. Empty until it was asked: then everything is tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    /// Asks the broker. It may not know the version of the question: then it says which it knows (KIP-511), in the oldest
    /// form of the answer, and is asked again.
    pub(crate) async fn ask<S>(connection: &mut Connection<S>) -> Result<Versions>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let newest = ApiKey::find(ApiVersionsRequest::KEY).map_or(0, |api| api.max_version);
        let request = ApiVersionsRequest {
            client_software_name: SOFTWARE.into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        let answer = connection.call_in(newest, &request).await?;
        let Some(fallback) = fallback(&answer)? else {
            return Versions::of(&answer.body()?);
        };
        let answer = connection.call_in(fallback, &request).await?;
        Versions::of(&answer.body()?)
    }

    fn of(answer: &ApiVersionsResponse<'_>) -> Result<Versions> {
        if answer.error_code != 0 {
            return Err(Reason::Refused {
                about: name_of(ApiVersionsRequest::KEY).to_owned(),
                code: answer.error_code,
                message: None,
            }
            .into());
        }
        let ranges = answer.api_keys.iter();
        Ok(Versions(
            ranges
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect(),
        ))
    }

    /// The versions of a request, if the broker knows it.
    pub fn range(&self, key: i16) -> Option<(i16, i16)> {
        self.0.get(&key).copied()
    }

    /// Every request that the broker knows, with its versions.
    pub fn iter(&self) -> impl Iterator<Item = (i16, (i16, i16))> + '_ {
        self.0.iter().map(|(key, range)| (*key, *range))
    }

    /// The newest version from `low` to `high` that both sides know.
    pub fn pick(&self, key: i16, low: i16, high: i16) -> std::result::Result<i16, Reason> {
        let ours = ApiKey::find(key).map_or((0, -1), |api| (api.min_version, api.max_version));
        let wanted = (low.max(ours.0), high.min(ours.1));
        let offered = match self.0.is_empty() {
            true => Some(wanted),
            false => self.range(key),
        };
        let doing = name_of(key);
        let refused = Reason::Unsupported {
            doing,
            wanted,
            offered,
        };
        let Some((from, to)) = offered else {
            return Err(refused);
        };
        let version = wanted.1.min(to);
        match version >= wanted.0.max(from) {
            true => Ok(version),
            false => Err(refused),
        }
    }
}

/// The version to ask again in, if the broker does not know the one it was asked in.
fn fallback(answer: &Answer<ApiVersionsRequest<'_>>) -> Result<Option<i16>> {
    let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
    if !answer.raw().body_bytes().starts_with(&unsupported) {
        return Ok(None);
    }
    let told: ApiVersionsResponse<'_> = answer.raw().decode_as(0)?;
    let mut ranges = told.api_keys.iter();
    let range = ranges.find(|api| api.api_key == ApiVersionsRequest::KEY);
    // Brokers before Kafka 2.4 say no more than that.
    Ok(Some(range.map_or(0, |api| {
        api.max_version
            .clamp(0, answer.version().saturating_sub(1).max(0))
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_know_is_picked() {
        let versions = Versions(BTreeMap::from([(3, (2, 7)), (0, (0, 2)), (1, (4, 99))]));
        assert_eq!(versions.pick(3, 0, i16::MAX).unwrap(), 7);
        assert_eq!(versions.pick(3, 4, 5).unwrap(), 5);
        assert_eq!(versions.pick(1, 0, 12).unwrap(), 12);
        let told = |key, low| versions.pick(key, low, i16::MAX).unwrap_err().to_string();
        assert!(told(3, 9).contains("speaks Metadata in versions 2 to 7, but 9 to 13"));
        assert!(told(0, 0).contains("in versions 0 to 2, but 3 to 13"));
        assert!(told(8, 0).contains("does not know OffsetCommit"));
        assert!(Versions::default().pick(3, 0, 99).unwrap() >= 13);
    }
}
