//! Examples of the standards, and a signature by every algorithm.

use super::*;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{EcdsaKeyPair, KeyPair, RsaEncoding};

/// The key and the signature of RFC 7515, appendix A.3 (ES256).
const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const SIGNED: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// Those of RFC 8037, appendix A (Ed25519).
const ED: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
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

/// A key of this test alone.
fn rsa() -> RsaKeyPair {
    let lines = include_str!("rsa.pem").lines();
    let text: String = lines.filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap();
    RsaKeyPair::from_pkcs8(&der).unwrap()
}

fn rsa_set(key: &RsaKeyPair, more: &str) -> KeySet {
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (n, e) = (encode(&public.n), encode(&public.e));
    set(&[&format!(
        "{{\"kty\":\"RSA\",\"n\":\"{n}\",\"e\":\"{e}\"{more}}}"
    )])
}

#[test]
fn every_algorithm_of_rsa_is_verified_by_itself_and_by_no_other() {
    let key = rsa();
    let keys = rsa_set(&key, "");
    let only = rsa_set(&key, ",\"alg\":\"PS384\"");
    let algorithms: [(&str, &'static dyn RsaEncoding); 6] = [
        ("RS256", &signature::RSA_PKCS1_SHA256),
        ("RS384", &signature::RSA_PKCS1_SHA384),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("PS256", &signature::RSA_PSS_SHA256),
        ("PS384", &signature::RSA_PSS_SHA384),
        ("PS512", &signature::RSA_PSS_SHA512),
    ];
    for (name, encoding) in algorithms {
        let mut signature = vec![0; key.public().modulus_len()];
        let random = SystemRandom::new();
        key.sign(encoding, &random, b"signed", &mut signature)
            .unwrap();
        for algorithm in ALGORITHMS.into_iter().chain(["ES512", "HS256", "none", ""]) {
            let is_good = keys.verify(None, algorithm, b"signed", &signature);
            assert_eq!(is_good, algorithm == name, "{name} read as {algorithm}");
        }
        assert!(!keys.verify(None, name, b"signet", &signature));
        assert_eq!(
            only.verify(None, name, b"signed", &signature),
            name == "PS384"
        );
    }
}

#[test]
fn signatures_of_p384_are_verified() {
    let random = SystemRandom::new();
    let algorithm = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
    let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let keys = set(&[&format!(
        "{{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"{x}\",\"y\":\"{y}\"}}"
    )]);
    let signature = pair.sign(&random, b"signed").unwrap();
    assert!(keys.verify(None, "ES384", b"signed", signature.as_ref()));
    for algorithm in ALGORITHMS.into_iter().filter(|name| *name != "ES384") {
        assert!(
            !keys.verify(None, algorithm, b"signed", signature.as_ref()),
            "{algorithm}"
        );
    }
}

#[test]
fn a_set_without_a_key_that_is_understood_is_refused_with_what_it_has() {
    let told = |keys: &str| KeySet::parse(format!("{{\"keys\":[{keys}]}}").as_bytes()).unwrap_err();
    let curve = r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"},{"kty":"oct","k":"aHVzaA"},{}"#;
    let told_of = told(curve);
    let end = "or Ed25519; it has EC P-521, oct, one that does not say what it is";
    assert!(
        told_of.ends_with(end) && !told_of.contains("aHVzaA"),
        "{told_of}"
    );
    let short = URL_SAFE_NO_PAD.encode([255; 128]);
    assert!(
        told(&format!(
            "{{\"kty\":\"RSA\",\"n\":\"{short}\",\"e\":\"AQAB\"}}"
        ))
        .contains("2048")
    );
}
