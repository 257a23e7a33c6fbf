//! The keys of those who sign tokens, as a JSON Web Key Set has them (RFC 7517). Only public keys count: with a shared
//! secret whoever checks tokens could make them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::Value;

/// Keys of one set.
const KEYS_MAX: usize = 100;
/// By which tokens may be signed. There is no ES512, whose curve is not at hand, and no shared secret.
pub const ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
];
/// Shorter keys of RSA are not safe.
const RSA_BYTES_MIN: usize = 2048 / 8;
/// So many letters are told of a word that somebody else has chosen.
const TOLD_MAX: usize = 40;

/// All keys by which tokens are checked.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

/// One of them.
#[derive(Clone, Debug)]
pub struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    public: Public,
}

#[derive(Clone)]
enum Public {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl std::fmt::Debug for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Public::Rsa { .. } => "RSA",
            Public::P256(_) => "P-256",
            Public::P384(_) => "P-384",
            Public::Ed25519(_) => "Ed25519",
        })
    }
}

impl KeySet {
    /// Reads a set. Keys for other purposes and of other kinds are left out, as the standard has it; a set without any
    /// that can be used is a mistake.
    pub fn parse(text: &[u8]) -> Result<KeySet, String> {
        let set: Value = serde_json::from_slice(text).map_err(|_| "it is no JSON".to_owned())?;
        let keys = set["keys"].as_array();
        let keys = keys.ok_or("it is no JSON Web Key Set: there is no list of keys in it")?;
        if keys.len() > KEYS_MAX {
            return Err(format!("it has more than {KEYS_MAX} keys"));
        }
        let known: Vec<Key> = keys.iter().filter_map(Key::parse).collect();
        if known.is_empty() {
            let mut kinds: Vec<String> = keys.iter().map(kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            let has = match kinds.is_empty() {
                true => String::new(),
                false => format!("; it has {}", kinds.join(", ")),
            };
            return Err(format!(
                "there is no key in it by which tokens can be checked: RSA of at least 2048 bits, EC with P-256 or P-384, or Ed25519{has}"
            ));
        }
        Ok(KeySet(known))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there is a key of this id.
    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Whether one of the keys that may have signed this has. Without an id each may.
    pub(super) fn verify(
        &self,
        id: Option<&str>,
        algorithm: &str,
        signed: &[u8],
        signature: &[u8],
    ) -> bool {
        let may = |key: &&Key| {
            (id.is_none() || key.id.is_none() || key.id.as_deref() == id)
                && key.algorithm.as_deref().is_none_or(|own| own == algorithm)
        };
        let mut keys = self.0.iter().filter(may);
        keys.any(|key| key.public.verify(algorithm, signed, signature))
    }
}

/// What a key says it is, for whoever wonders why it is not taken. Never holds any of the key itself.
fn kind(key: &Value) -> String {
    let words = ["kty", "crv", "use"].map(|name| key[name].as_str());
    let words: Vec<String> = words.into_iter().flatten().map(told).collect();
    match words.is_empty() {
        true => "one that does not say what it is".to_owned(),
        false => words.join(" "),
    }
}

/// A word that somebody else has chosen, short and printable.
pub fn told(word: &str) -> String {
    word.escape_debug().take(TOLD_MAX).collect()
}

impl Key {
    fn parse(key: &Value) -> Option<Key> {
        let text = |name: &str| key[name].as_str();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(text(name)?.trim_end_matches('='))
                .ok()
        };
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            // Uncompressed, as SEC 1 has it.
            (x.len() == length && y.len() == length).then(|| [&[4], &*x, &*y].concat())
        };
        let public = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (modulus, exponent) = (bytes("n")?, bytes("e")?);
                let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
                if modulus.len() - zeros < RSA_BYTES_MIN {
                    return None;
                }
                Public::Rsa { modulus, exponent }
            }
            ("EC", Some("P-256")) => Public::P256(point(32)?),
            ("EC", Some("P-384")) => Public::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Public::Ed25519(bytes("x")?),
            _ => return None,
        };
        Some(Key {
            id: text("kid").map(str::to_owned),
            algorithm: text("alg").map(str::to_owned),
            public,
        })
    }
}

impl Public {
    /// Whether this key made the signature, by an algorithm that is of its kind.
    fn verify(&self, algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key)
                .verify(signed, signature)
                .is_ok()
        };
        match (self, algorithm) {
            (Public::Rsa { modulus, exponent }, _) => {
                let algorithm = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(algorithm, signed, signature).is_ok()
            }
            (Public::P256(key), "ES256") => by(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Public::P384(key), "ES384") => by(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Public::Ed25519(key), "EdDSA") => by(&signature::ED25519, key),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
