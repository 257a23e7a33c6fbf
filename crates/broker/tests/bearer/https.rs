//! Keys over TLS. Whom a machine trusts is told to a process by its environment: each test runs itself once more in one of
//! its own, with an authority that the outer one has made.

use super::URL;
use super::common::World;
use super::scene::{Issuer, comes_in, signed};
use super::web::{Answer, Web, comes_in_soon, until_it_is_come_to};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Names the folder of a test that runs in a process of its own.
const FOLDER: &str = "RUSTKA_TEST_AUTHORITY";
/// Names the file of authorities that a process trusts.
const TRUSTED: &str = "SSL_CERT_FILE";

/// The folder with certificates, in the inner process; the outer one makes it, and runs the inner one.
fn inside(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Some(folder.into());
    }
    let name = format!("rustka-https-{}-{test}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let (trusted, other) = (authority(), authority());
    std::fs::write(folder.join("trusted.pem"), trusted.pem()).expect("a file");
    sign(&folder, "good", "localhost", &trusted);
    sign(&folder, "other-name", "other.example", &trusted);
    sign(&folder, "other-authority", "localhost", &other);
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", &format!("https::{test}"), "--nocapture"])
        .env(FOLDER, &folder)
        .env(TRUSTED, folder.join("trusted.pem"))
        .env_remove("SSL_CERT_DIR")
        .status();
    std::fs::remove_dir_all(&folder).expect("the folder");
    assert!(status.expect("a process").success(), "see above");
    None
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("a certificate");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

fn sign(folder: &Path, file: &str, name: &str, authority: &CertifiedIssuer<'static, KeyPair>) {
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a signature");
    let text = format!("{}{}", certificate.pem(), key.serialize_pem());
    std::fs::write(folder.join(format!("{file}.pem")), text).expect("a file");
}

/// Serves with a certificate of the folder.
fn acceptor(folder: &Path, file: &str) -> TlsAcceptor {
    let text = std::fs::read(folder.join(format!("{file}.pem"))).expect("a file");
    let certificate = CertificateDer::from_pem_slice(&text).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&text).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = builder
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn keys_come_from_whom_this_machine_trusts_and_what_fails_leaves_the_old_ones() {
    let test = "keys_come_from_whom_this_machine_trusts_and_what_fails_leaves_the_old_ones";
    let Some(folder) = inside(test) else {
        return;
    };
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let web = Web::with(old.keys(), Some(acceptor(&folder, "good"))).await;
    let world = World::with(|options| signed(options).config(URL, &*web.url));
    comes_in_soon(&world, &web, &old.token("alice", 36_000)).await;
    let elsewhere = format!("location: {}/elsewhere\r\n", web.url);
    let large = format!(
        "{{\"padding\":\"{}\",{}",
        "x".repeat(1 << 20),
        &new.keys()[1..]
    );
    for failure in [
        Answer::Text(302, elsewhere, new.keys()),
        Answer::Text(500, String::new(), new.keys()),
        Answer::Text(200, String::new(), large),
        Answer::Text(200, String::new(), "{\"keys\":[]}".to_owned()),
        Answer::Nothing,
    ] {
        web.answers(failure);
        // A token with the new key has the keys asked for.
        assert_eq!(comes_in(&world, &new.token("alice", 36_000)).await, None);
        until_it_is_come_to(&world, &web).await;
        assert!(
            comes_in(&world, &old.token("alice", 36_000))
                .await
                .is_some()
        );
    }
    // Whoever never answers is left after ten seconds, and asked again.
    until_it_is_come_to(&world, &web).await;
    web.says(200, new.keys());
    comes_in_soon(&world, &web, &new.token("alice", 36_000)).await;
    assert_eq!(comes_in(&world, &old.token("alice", 36_000)).await, None);
    assert!(
        web.paths().iter().all(|path| path == "/keys"),
        "no redirect is followed"
    );
}

// Anybody between the broker and the issuer could have put in a key of their own.
#[tokio::test]
async fn keys_from_whom_nobody_trusts_or_under_another_name_are_not_taken() {
    let test = "keys_from_whom_nobody_trusts_or_under_another_name_are_not_taken";
    let Some(folder) = inside(test) else {
        return;
    };
    let issuer = Issuer::new("k1");
    for file in ["other-authority", "other-name"] {
        let web = Web::with(issuer.keys(), Some(acceptor(&folder, file))).await;
        let world = World::with(|options| signed(options).config(URL, &*web.url));
        for _ in 0..3 {
            until_it_is_come_to(&world, &web).await;
            assert_eq!(comes_in(&world, &issuer.token("alice", 36_000)).await, None);
        }
        assert_eq!(web.asked(), 0, "{file}: nothing is asked of them");
    }
}
