//! Keys and certificates as people have them: PEM as text or in a file, and PKCS12, which Java's keystores are today.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A keystore is read up to this size.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// What a keystore in Java's own old format begins with.
const JKS: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

/// A key with its certificate and those that lead to the authority.
pub struct Own {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// Reads a file that a config names.
pub fn file(path: &str) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    if size.len() > FILE_BYTES_MAX {
        return Err(format!("{path} is larger than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))
}

/// The key and certificates in a keystore's bytes. `key_password` is of the key alone, where that is encrypted in PEM.
pub fn own(
    bytes: &[u8],
    password: Option<&str>,
    key_password: Option<&str>,
) -> Result<Own, String> {
    let Some(store) = java(bytes, password)? else {
        let text = text(bytes)?;
        return pem(text, text, key_password);
    };
    let (_, chain) = store
        .private_key_chain()
        .ok_or("there is no private key in it")?;
    let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
    let certificates = chain.certs().iter();
    Ok(Own {
        chain: certificates
            .map(|certificate| certificate.as_der().to_vec().into())
            .collect(),
        key: key.into(),
    })
}

/// The certificates in a truststore's bytes.
pub fn trusted(
    bytes: &[u8],
    password: Option<&str>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(store) = java(bytes, password)? else {
        return certificates(text(bytes)?);
    };
    let mut found = Vec::new();
    for (_, entry) in store.entries() {
        match entry {
            KeyStoreEntry::Certificate(one) => found.push(one.as_der().to_vec().into()),
            KeyStoreEntry::PrivateKeyChain(chain) => {
                let certificates = chain.certs().iter();
                found.extend(certificates.map(|one| one.as_der().to_vec().into()));
            }
            KeyStoreEntry::Secret(_) => {}
        }
    }
    match found.is_empty() {
        true => Err("there is no certificate in it".to_owned()),
        false => Ok(found),
    }
}

/// A key and certificates in text. The key may be encrypted, as PKCS 8 has it.
pub fn pem(key: &str, chain: &str, key_password: Option<&str>) -> Result<Own, String> {
    let key = match encrypted(key) {
        Some(body) => decrypted(&body, key_password)?,
        None => PrivateKeyDer::from_pem_slice(in_lines(key).as_bytes())
            .map_err(|_| "there is no private key in it (BEGIN PRIVATE KEY)".to_owned())?,
    };
    Ok(Own {
        chain: certificates(chain)?,
        key,
    })
}

/// The letters of an encrypted key, where the text has one.
fn encrypted(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("-----BEGIN ENCRYPTED PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END ENCRYPTED PRIVATE KEY-----")?;
    Some(body.split_whitespace().collect())
}

fn decrypted(body: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    let password =
        password.ok_or("the private key is encrypted: ssl.key.password is needed to open it")?;
    let broken = "the encrypted private key in it is broken";
    let bytes = STANDARD.decode(body).map_err(|_| broken.to_owned())?;
    let key = EncryptedPrivateKeyInfoRef::try_from(&*bytes).map_err(|_| broken.to_owned())?;
    let key = key.decrypt(password).map_err(|_| {
        "the private key does not open, perhaps for a wrong ssl.key.password; it has to be encrypted by PBES2 (openssl pkcs8 -topk8)"
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// The certificates in a text.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = in_lines(text);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("there is no certificate in it (BEGIN CERTIFICATE)".to_owned()),
        Err(error) => Err(format!("a certificate in it is broken: {error:?}")),
    }
}

/// Refuses certificates that nobody would accept now.
pub fn check_times(chain: &[CertificateDer<'_>], now_ms: i64) -> Result<(), String> {
    for certificate in chain {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|_| "a certificate in it is broken".to_owned())?;
        let validity = certificate.validity();
        let subject = certificate.subject().to_string();
        let subject = subject.escape_debug();
        if validity.not_after.timestamp() < now_ms / 1_000 {
            return Err(format!(
                "the certificate of {subject} expired at {}",
                validity.not_after
            ));
        }
        if validity.not_before.timestamp() > now_ms / 1_000 {
            return Err(format!(
                "the certificate of {subject} is not valid before {}",
                validity.not_before
            ));
        }
    }
    Ok(())
}

/// A PKCS12 store; none for what is no store at all, such as PEM.
fn java(bytes: &[u8], password: Option<&str>) -> Result<Option<KeyStore>, String> {
    if bytes.starts_with(&JKS) {
        let sentence = "it is in the old JKS format: convert it with keytool -importkeystore -deststoretype PKCS12";
        return Err(sentence.to_owned());
    }
    // A PKCS12 store is a sequence.
    if bytes.first() != Some(&0x30) {
        return Ok(None);
    }
    let password = password.ok_or("a PKCS12 store needs its password")?;
    let store = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Relaxed);
    store
        .map(Some)
        .map_err(|error| format!("it cannot be opened, perhaps for a wrong password: {error}"))
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "it is neither PEM nor PKCS12".to_owned())
}

/// PEM may come in one line, as a value of a properties file.
fn in_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for (at, part) in text.split("-----").enumerate() {
        // Between two markers: their words and, in turns, what they enclose.
        match at % 2 {
            0 => {
                let body: Vec<&str> = part.split_whitespace().collect();
                out.push('\n');
                out.push_str(&body.join("\n"));
                out.push('\n');
            }
            _ => {
                out.push_str("-----");
                out.push_str(part);
                out.push_str("-----");
            }
        }
    }
    out
}
