//! Which requests exist, in which versions, behind which headers.

pub use crate::generated::apis::APIS;

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The number in the request header.
    pub key: i16,
    /// Kafka's name for it, such as `Metadata`.
    pub name: &'static str,
    /// Lowest version.
    pub min_version: i16,
    /// Highest stable version; below `min_version` when no version is stable.
    pub max_version: i16,
    /// First version with compact lengths and tagged fields; `i16::MAX` for none.
    pub flexible_from: i16,
    /// Whether Kafka's brokers answer it; others are for controllers only.
    pub on_broker: bool,
}

/// Every key is below this.
const KEYS_MAX: usize = 128;

/// Where each of these keys stands, `u8::MAX` for all others. Every request looks for its key a few times, mostly after a
/// pause in which the caches have forgotten everything: this is one line of memory where a search would touch many.
pub const fn places(keys: &[i16]) -> [u8; KEYS_MAX] {
    let mut places = [u8::MAX; KEYS_MAX];
    let mut at = 0;
    while at < keys.len() {
        places[keys[at] as usize] = at as u8;
        at += 1;
    }
    places
}

static PLACES: [u8; KEYS_MAX] = places(&keys());

const fn keys() -> [i16; APIS.len()] {
    let mut keys = [0; APIS.len()];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = APIS[at].key;
        at += 1;
    }
    keys
}

/// ApiVersions, which a client sends before it knows what the broker speaks.
const API_VERSIONS: i16 = 18;

impl ApiKey {
    /// The request with this number.
    pub fn find(key: i16) -> Option<&'static Self> {
        let at = *PLACES.get(usize::try_from(key).ok()?)?;
        APIS.get(usize::from(at))
    }

    /// Whether the version is stable and supported.
    pub fn supports(&self, version: i16) -> bool {
        (self.min_version..=self.max_version).contains(&version)
    }
}

/// The version of the header in front of a request; 1 for keys that do not exist.
pub fn request_header_version(key: i16, version: i16) -> i16 {
    match ApiKey::find(key) {
        Some(api) if version >= api.flexible_from => 2,
        _ => 1,
    }
}

/// The version of the header in front of a response.
/// Always 0 for ApiVersions: its reader cannot know yet what the broker speaks (KIP-511).
pub fn response_header_version(key: i16, version: i16) -> i16 {
    match ApiKey::find(key) {
        Some(api) if key != API_VERSIONS && version >= api.flexible_from => 1,
        _ => 0,
    }
}
