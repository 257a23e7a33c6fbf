//! One token: what it claims, and whether that can be believed.

use super::keys::{ALGORITHMS, KeySet, told};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// What a token has to be like.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The claim that names the user (`sasl.oauthbearer.sub.claim.name`).
    pub subject_claim: String,
    /// The claim with what it is for, which has to make sense where it is there (`sasl.oauthbearer.scope.claim.name`).
    pub scope_claim: String,
    /// Who has to have issued it (`sasl.oauthbearer.expected.issuer`), if that is asked for.
    pub issuer: Option<String>,
    /// Of whom it has to be meant for one (`sasl.oauthbearer.expected.audience`), if that is asked for.
    pub audience: Vec<String>,
    /// How far its issuer's clock may be from ours.
    pub skew_ms: i64,
    /// Whether tokens that nobody has signed are believed, and no others: for tests.
    pub unsecured: bool,
}

/// What a token that can be believed says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who.
    pub subject: String,
    /// Until when, in milliseconds since the Unix epoch.
    pub expires_ms: i64,
}

/// Why a token is not good enough, for the log. Never holds any of the token but the id of its key and
/// the name of its algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(pub String);

impl Unfit {
    fn new(why: &str) -> Unfit {
        Unfit(why.to_owned())
    }
}

/// A token as it is written, in three parts.
struct Written<'a> {
    signed: &'a str,
    header: Map<String, Value>,
    payload: Map<String, Value>,
    signature: Vec<u8>,
}

impl<'a> Written<'a> {
    fn parse(token: &'a str) -> Option<Written<'a>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let object = |part: &str| -> Option<Map<String, Value>> {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        Some(Written {
            signed,
            header: object(header)?,
            payload: object(payload)?,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }
}

/// The id of the key that a token says it is signed with, whether or not it is.
pub fn key_id(token: &str) -> Option<String> {
    let written = Written::parse(token)?;
    let id = written.header.get("kid")?.as_str()?;
    Some(id.to_owned())
}

impl Rules {
    /// What a token claims, if it can be believed at `now_ms`.
    pub fn check(&self, token: &str, keys: &KeySet, now_ms: i64) -> Result<Claims, Unfit> {
        let written = Written::parse(token).ok_or_else(|| Unfit::new("it is no JSON Web Token"))?;
        self.check_signature(&written, keys)?;
        let claims = &written.payload;
        // A fraction of a second is not worth a number that is not exact.
        let time_ms = |name: &str| -> Result<Option<i64>, Unfit> {
            match claims.get(name) {
                None => Ok(None),
                Some(Value::Number(seconds)) => {
                    let whole = seconds.as_i64().map(|seconds| seconds.checked_mul(1_000));
                    let ms = match whole {
                        Some(ms) => ms,
                        None => seconds.as_f64().map(|seconds| (seconds * 1_000.0) as i64),
                    };
                    ms.map(Some)
                        .ok_or_else(|| Unfit::new("a time in it is out of reach"))
                }
                Some(_) => Err(Unfit(format!("its {name} is no time"))),
            }
        };
        let expires_ms = time_ms("exp")?.ok_or_else(|| Unfit::new("it never expires"))?;
        if expires_ms.saturating_add(self.skew_ms) <= now_ms {
            return Err(Unfit::new("it has expired"));
        }
        let issued_ms = time_ms("iat")?;
        if !self.unsecured && issued_ms.is_none() {
            return Err(Unfit::new("it does not say when it was issued"));
        }
        let is_early = |ms: i64| ms.saturating_sub(self.skew_ms) > now_ms;
        // Of tokens that nobody has signed Kafka looks at no more than these.
        let begins_ms = match self.unsecured {
            true => None,
            false => time_ms("nbf")?,
        };
        if issued_ms.is_some_and(is_early) || begins_ms.is_some_and(is_early) {
            return Err(Unfit::new("it is not valid yet"));
        }
        self.check_parties(claims)?;
        let subject = claims.get(&self.subject_claim).and_then(Value::as_str);
        let subject = subject.map(str::trim).filter(|name| !name.is_empty());
        let subject = subject.ok_or_else(|| Unfit::new("it names nobody"))?;
        Ok(Claims {
            subject: subject.to_owned(),
            expires_ms,
        })
    }

    fn check_signature(&self, written: &Written<'_>, keys: &KeySet) -> Result<(), Unfit> {
        let text = |name: &str| written.header.get(name).and_then(Value::as_str);
        if written.header.contains_key("crit") {
            return Err(Unfit::new("it asks for what is not understood here"));
        }
        let algorithm = text("alg").unwrap_or_default();
        if self.unsecured {
            return match algorithm == "none" && written.signature.is_empty() {
                true => Ok(()),
                false => Err(Unfit::new("it is signed, and here nobody signs")),
            };
        }
        if algorithm == "none" {
            return Err(Unfit::new("nobody has signed it"));
        }
        if !ALGORITHMS.contains(&algorithm) {
            return Err(Unfit(format!(
                "it is signed by the algorithm '{}', which is not understood here: {} are",
                told(algorithm),
                ALGORITHMS.join(", ")
            )));
        }
        let signed = written.signed.as_bytes();
        if keys.verify(text("kid"), algorithm, signed, &written.signature) {
            return Ok(());
        }
        Err(match text("kid").filter(|id| !keys.has(id)) {
            Some(id) => Unfit(format!(
                "no key has the id '{}' with which it says it is signed",
                told(id)
            )),
            None => Unfit::new("no known key has signed it"),
        })
    }

    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), Unfit> {
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Unfit::new("somebody else has issued it"));
        }
        if !self.audience.is_empty() {
            let is_ours = |one: &Value| {
                one.as_str()
                    .is_some_and(|one| self.audience.iter().any(|own| own == one))
            };
            let is_meant = match claims.get("aud") {
                Some(Value::Array(all)) => all.iter().any(is_ours),
                Some(one) => is_ours(one),
                None => false,
            };
            if !is_meant {
                return Err(Unfit::new("it is meant for somebody else"));
            }
        }
        match claims.get(&self.scope_claim) {
            None | Some(Value::String(_)) => Ok(()),
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => Ok(()),
            Some(_) => Err(Unfit::new("its scope makes no sense")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    const NOW_MS: i64 = 1_760_000_000_000;

    /// Somebody who signs, with the set of keys that says so.
    struct Signer(Ed25519KeyPair, KeySet);

    impl Signer {
        fn new() -> Signer {
            let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
            let public = URL_SAFE_NO_PAD.encode(key.public_key());
            let set = format!(
                "{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k1\",\"x\":\"{public}\"}}]}}"
            );
            let set = KeySet::parse(set.as_bytes()).unwrap();
            Signer(key, set)
        }

        fn sign(&self, header: &str, payload: &str) -> String {
            let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let signed = format!("{}.{}", encode(header), encode(payload));
            let signature = self.0.sign(signed.as_bytes());
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn rules() -> Rules {
        Rules {
            subject_claim: "sub".to_owned(),
            scope_claim: "scope".to_owned(),
            issuer: None,
            audience: Vec::new(),
            skew_ms: 30_000,
            unsecured: false,
        }
    }

    const HEADER: &str = r#"{"alg":"EdDSA","kid":"k1"}"#;

    /// A payload with these times, in seconds from now, and more.
    fn claims(expires: i64, issued: i64, more: &str) -> String {
        let at = |seconds: i64| NOW_MS / 1_000 + seconds;
        format!(
            "{{\"sub\":\"alice\",\"exp\":{},\"iat\":{}{more}}}",
            at(expires),
            at(issued)
        )
    }

    #[test]
    fn a_signed_token_says_who_and_until_when() {
        let signer = Signer::new();
        let token = signer.sign(HEADER, &claims(60, -5, ""));
        let expected = Claims {
            subject: "alice".to_owned(),
            expires_ms: NOW_MS + 60_000,
        };
        assert_eq!(rules().check(&token, &signer.1, NOW_MS), Ok(expected));
        assert_eq!(key_id(&token).as_deref(), Some("k1"));
        let stranger = Signer::new();
        let error = rules().check(&token, &stranger.1, NOW_MS).unwrap_err();
        assert_eq!(error.0, "no known key has signed it");
    }

    #[test]
    fn times_hold_but_for_the_skew_of_clocks() {
        let signer = Signer::new();
        let check = |expires, issued, more: &str| {
            let token = signer.sign(HEADER, &claims(expires, issued, more));
            let checked = rules().check(&token, &signer.1, NOW_MS);
            checked.map(|_| ()).map_err(|unfit| unfit.0)
        };
        let told = |why: &str| Err(why.to_owned());
        assert_eq!(check(-29, -60, ""), Ok(()));
        assert_eq!(check(-30, -60, ""), told("it has expired"));
        assert_eq!(check(60, 30, ""), Ok(()));
        assert_eq!(check(60, 31, ""), told("it is not valid yet"));
        let later = format!(",\"nbf\":{}", NOW_MS / 1_000 + 31);
        assert_eq!(check(60, 0, &later), told("it is not valid yet"));
        let never = signer.sign(HEADER, "{\"sub\":\"alice\",\"iat\":1}");
        let check = |token: &str| rules().check(token, &signer.1, NOW_MS).unwrap_err().0;
        assert_eq!(check(&never), "it never expires");
        let text = signer.sign(
            HEADER,
            "{\"sub\":\"alice\",\"iat\":1,\"exp\":\"2000000000\"}",
        );
        assert_eq!(check(&text), "its exp is no time");
        let huge = signer.sign(
            HEADER,
            "{\"sub\":\"alice\",\"iat\":1,\"exp\":9223372036854775807}",
        );
        assert_eq!(check(&huge), "a time in it is out of reach");
        let undated = signer.sign(HEADER, "{\"sub\":\"alice\",\"exp\":2000000000}");
        assert_eq!(check(&undated), "it does not say when it was issued");
    }

    #[test]
    fn issuer_audience_and_subject_are_those_that_are_asked_for() {
        let signer = Signer::new();
        let rules = Rules {
            issuer: Some("https://id".to_owned()),
            audience: vec!["kafka".to_owned(), "other".to_owned()],
            subject_claim: "user".to_owned(),
            ..rules()
        };
        let check = |more: &str| {
            let token = signer.sign(HEADER, &claims(60, 0, more));
            let checked = rules.check(&token, &signer.1, NOW_MS);
            checked
                .map(|claims| claims.subject)
                .map_err(|unfit| unfit.0)
        };
        let told = |why: &str| Err(why.to_owned());
        let good = r#","iss":"https://id","aud":["x","kafka"],"user":"bob""#;
        assert_eq!(check(good), Ok("bob".to_owned()));
        assert_eq!(
            check(r#","iss":"https://id","aud":"other","user":"bob","scope":["a"]"#),
            Ok("bob".to_owned())
        );
        assert_eq!(
            check(r#","iss":"https://id2","aud":"kafka","user":"bob""#),
            told("somebody else has issued it")
        );
        assert_eq!(
            check(r#","iss":"https://id","aud":"kafkas","user":"bob""#),
            told("it is meant for somebody else")
        );
        assert_eq!(
            check(r#","iss":"https://id","user":"bob""#),
            told("it is meant for somebody else")
        );
        assert_eq!(
            check(r#","iss":"https://id","aud":"kafka""#),
            told("it names nobody")
        );
        assert_eq!(
            check(r#","iss":"https://id","aud":"kafka","user":" ""#),
            told("it names nobody")
        );
        assert_eq!(
            check(r#","iss":"https://id","aud":"kafka","user":"bob","scope":7"#),
            told("its scope makes no sense")
        );
    }

    #[test]
    fn whoever_signs_nothing_is_believed_only_where_that_is_asked_for_and_then_nobody_else() {
        let signer = Signer::new();
        let payload = claims(60, 0, "");
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let unsigned = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&payload));
        let told = |why: &str| Err(Unfit(why.to_owned()));
        assert_eq!(
            rules().check(&unsigned, &signer.1, NOW_MS),
            told("nobody has signed it")
        );
        let open = Rules {
            unsecured: true,
            ..rules()
        };
        assert!(open.check(&unsigned, &KeySet::default(), NOW_MS).is_ok());
        let signed = signer.sign(HEADER, &payload);
        let refused = told("it is signed, and here nobody signs");
        assert_eq!(open.check(&signed, &signer.1, NOW_MS), refused);
        for algorithm in ["HS256", "ES512"] {
            let header = format!("{{\"alg\":\"{algorithm}\"}}");
            let other = signer.sign(&header, &payload);
            let error = rules().check(&other, &signer.1, NOW_MS).unwrap_err().0;
            let named = format!("'{algorithm}', which is not understood here: RS256, RS384");
            assert!(error.contains(&named), "{error}");
        }
        let critical = signer.sign(r#"{"alg":"EdDSA","crit":["b64"]}"#, &payload);
        assert!(rules().check(&critical, &signer.1, NOW_MS).is_err());
        let unknown = signer.sign(r#"{"alg":"EdDSA","kid":"k2"}"#, &payload);
        let error = rules().check(&unknown, &signer.1, NOW_MS).unwrap_err();
        assert_eq!(
            error.0,
            "no key has the id 'k2' with which it says it is signed"
        );
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let signer = Signer::new();
        let token = signer.sign(HEADER, &claims(60, 0, ""));
        for wrong in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "e30.e30.",
            "W10.W10.AA",
            "e30=.e30.AA",
        ] {
            assert!(rules().check(wrong, &signer.1, NOW_MS).is_err(), "{wrong}");
        }
        for end in 0..token.len() {
            assert!(rules().check(&token[..end], &signer.1, NOW_MS).is_err());
        }
    }
}
