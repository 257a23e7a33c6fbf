//! The table of requests and their headers.

use rustka_wire::api::{APIS, ApiKey, request_header_version, response_header_version};

#[test]
fn every_request_is_found_by_its_key() {
    for api in APIS {
        assert_eq!(ApiKey::find(api.key), Some(api), "{}", api.name);
    }
    for key in [-1, i16::MIN, i16::MAX] {
        assert_eq!(ApiKey::find(key), None);
    }
}

#[test]
fn headers_are_flexible_where_the_message_is() {
    assert_eq!(
        (request_header_version(3, 8), response_header_version(3, 8)),
        (1, 0)
    );
    assert_eq!(
        (request_header_version(3, 9), response_header_version(3, 9)),
        (2, 1)
    );
}

#[test]
fn api_versions_answers_behind_the_oldest_header() {
    assert_eq!(request_header_version(18, 3), 2);
    assert_eq!(response_header_version(18, 3), 0);
    assert_eq!(response_header_version(18, i16::MAX), 0);
}

#[test]
fn sasl_handshake_never_became_flexible() {
    assert_eq!(
        (
            request_header_version(17, 1),
            response_header_version(17, 1)
        ),
        (1, 0)
    );
}
