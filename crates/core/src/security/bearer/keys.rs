//! The keys of those who sign tokens, as a JSON Web Key Set has them (RFC 7517). Only public keys count: with a shared
//! secret whoever checks tokens could make them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::Value;

/// Keys of one set.
const KEYS_MAX: usize = 100;

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
        match known.is_empty() {
            true => Err("there is no key in it by which tokens can be checked: RSA, EC with P-256 or P-384, or Ed25519".to_owned()),
            false => Ok(KeySet(known)),
        }
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
            ("RSA", _) => Public::Rsa {
                modulus: bytes("n")?,
                exponent: bytes("e")?,
            },
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
mod tests {
    use super::*;

    /// The key and the signature of RFC 7515, appendix A.3 (ES256).
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const SIGNED: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    /// Those of RFC 8037, appendix A (Ed25519).
    const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const ED_SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    const ED_SIGNATURE: &str =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    fn set(keys: &[&str]) -> KeySet {
        let text = format!("{{\"keys\":[{}]}}", keys.join(","));
        KeySet::parse(text.as_bytes()).unwrap()
    }

    fn decoded(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn the_examples_of_the_standards_are_verified_and_nothing_else_is() {
        let keys = set(&[EC, ED]);
        let (signature, other) = (decoded(SIGNATURE), decoded(ED_SIGNATURE));
        let is_good = |id, algorithm, signed: &str, signature: &[u8]| {
            keys.verify(id, algorithm, signed.as_bytes(), signature)
        };
        assert!(is_good(None, "ES256", SIGNED, &signature));
        assert!(is_good(Some("ed"), "EdDSA", ED_SIGNED, &other));
        assert!(!is_good(Some("other"), "EdDSA", ED_SIGNED, &other));
        assert!(!is_good(None, "EdDSA", SIGNED, &signature));
        assert!(!is_good(None, "none", SIGNED, b""));
        assert!(!is_good(None, "HS256", SIGNED, &signature));
        let changed = SIGNED.replace("eyJpc3Mi", "eyJpc3Ni");
        assert!(!is_good(None, "ES256", &changed, &signature));
        for at in 0..signature.len() {
            let mut wrong = signature.clone();
            wrong[at] ^= 1;
            assert!(!is_good(None, "ES256", SIGNED, &wrong), "{at}");
        }
        assert!(!is_good(None, "ES256", SIGNED, &signature[1..]));
    }

    #[test]
    fn shared_secrets_and_keys_for_other_purposes_are_left_out() {
        let secret = r#"{"kty":"oct","k":"c2VjcmV0"}"#;
        let sealing = r#"{"kty":"OKP","crv":"Ed25519","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let short = r#"{"kty":"EC","crv":"P-256","x":"f83O","y":"x_FE"}"#;
        assert_eq!(set(&[secret, sealing, short, ED]).count(), 1);
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"keys":{}}"#,
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
            r#"{"keys":[7,null,{"kty":[]}]}"#,
        ] {
            assert!(KeySet::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let many = vec![ED; KEYS_MAX + 1].join(",");
        assert!(KeySet::parse(format!("{{\"keys\":[{many}]}}").as_bytes()).is_err());
    }
}
