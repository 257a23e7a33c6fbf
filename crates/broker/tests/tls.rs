//! TLS, each by what somebody at the far end, or whoever runs the broker, notices.

mod common;

use common::World;
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustka::hooks::{Event, Observer};
use rustka::net::tls::reload::LOOK_MS;
use rustka::net::transport::MemoryStream;
use rustka::{Broker, Options};
use rustka_client::Connection;
use rustka_wire::describe_cluster_request::DescribeClusterRequest;
use rustka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const SSL: (&str, &str) = ("listeners", "SSL://127.0.0.1:0");

/// Somebody who signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key in PEM.
struct Signed {
    certificate: String,
    der: Vec<u8>,
    key: KeyPair,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Signed {
            certificate: certificate.pem(),
            der: certificate.der().to_vec(),
            key,
        }
    }

    fn client(&self, own: Option<&Signed>) -> ClientConfig {
        client(&self.0.pem(), own)
    }
}

impl Signed {
    fn pem(&self) -> String {
        format!("{}{}", self.certificate, self.key.serialize_pem())
    }
}

fn client(authority: &str, own: Option<&Signed>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivatePkcs8KeyDer::from(own.key.serialize_der());
            builder
                .with_client_auth_cert(vec![own.der.clone().into()], key.into())
                .unwrap()
        }
    }
}

/// A folder of one test's own, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let name = format!("rustka-tls-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        text(&path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

async fn shake(world: &World, config: &ClientConfig) -> io::Result<TlsStream<MemoryStream>> {
    let connector = TlsConnector::from(Arc::new(config.clone()));
    let name = "localhost".try_into().unwrap();
    connector.connect(name, world.broker.connect()).await
}

async fn is_served(stream: TlsStream<MemoryStream>) -> bool {
    let mut client = Connection::over(stream, "memory", "test");
    let request = DescribeClusterRequest {
        endpoint_type: 1,
        ..Default::default()
    };
    client.call_in(1, &request).await.is_ok()
}

/// Who is there, by the broker's list of connections.
fn principals(world: &World) -> Vec<String> {
    let peers = world.broker.node().peers.all();
    let entries = peers.iter().filter_map(|peer| peer.entry());
    entries.map(|(_, principal)| principal.to_owned()).collect()
}

fn configured(pairs: &[(&str, &str)]) -> impl FnOnce(Options) -> Options {
    move |options| {
        let pairs = [SSL].into_iter().chain(pairs.iter().copied());
        pairs.fold(options, |options, (key, value)| options.config(key, value))
    }
}

/// What keeps a broker with these configs from starting.
fn refused(pairs: &[(&str, &str)]) -> String {
    let options = configured(pairs)(Broker::builder().sockets(false));
    options.check().unwrap_err().to_string()
}

#[derive(Default)]
struct Reasons(Mutex<Vec<String>>);

impl Observer for Reasons {
    fn saw(&self, event: Event<'_>) {
        if let Event::Refused(_, reason) = event {
            self.0.lock().unwrap().push(reason.to_owned());
        }
    }
}

#[tokio::test]
async fn a_certificate_made_for_this_start_serves_whoever_trusts_its_authority() {
    let world = World::with(|options| options.tls_self_signed(true));
    let authority = world.broker.authority().unwrap().to_owned();
    let stream = shake(&world, &client(&authority, None)).await.unwrap();
    assert!(is_served(stream).await);
    let error = shake(&world, &Authority::new().client(None)).await;
    assert!(error.err().unwrap().to_string().contains("certificate"));
}

#[tokio::test]
async fn keys_come_as_text_as_pem_files_and_as_java_keystores() {
    let (authority, folder) = (Authority::new(), Folder::new("stores"));
    let own = authority.sign(|_| {});
    let pem = folder.write("own.pem", own.pem());
    let one_line = |text: &str| text.replace('\n', " ");
    let (chain, key) = (
        one_line(&own.certificate),
        one_line(&own.key.serialize_pem()),
    );
    let mut store = KeyStore::new();
    let key_entry = PrivateKey::from_der(&own.key.serialize_der()).unwrap();
    let certificate = Certificate::from_der(&own.der).unwrap();
    let entry = PrivateKeyChain::new("own", key_entry, [certificate]);
    store.add_entry("own", KeyStoreEntry::PrivateKeyChain(entry));
    let java = folder.write("own.p12", store.writer("changeit").write().unwrap());
    let ways: [&[(&str, &str)]; 4] = [
        &[("ssl.keystore.location", &pem)],
        &[
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.certificate.chain", &chain),
            ("ssl.keystore.key", &key),
        ],
        &[
            ("ssl.keystore.location", &java),
            ("ssl.keystore.password", "changeit"),
        ],
        &[("listener.name.ssl.ssl.keystore.location", &pem)],
    ];
    for way in ways {
        let world = World::with(configured(way));
        let stream = shake(&world, &authority.client(None)).await.unwrap();
        assert!(is_served(stream).await, "{way:?}");
    }
    let wrong = refused(&[
        ("ssl.keystore.location", &java),
        ("ssl.keystore.password", "hush"),
    ]);
    assert!(
        wrong.contains("wrong password") && !wrong.contains("hush"),
        "{wrong}"
    );
}

/// Both made by OpenSSL: `openssl pkcs8 -topk8` of the first, with the password `changeit`, is the second.
const PLAIN: &str = include_str!("tls/plain.pem");
const ENCRYPTED: &str = include_str!("tls/encrypted.pem");

// Whoever had an encrypted key, as Kafka takes it, was told to decrypt it first.
#[tokio::test]
async fn a_key_may_be_encrypted_by_itself() {
    let (authority, folder) = (Authority::new(), Folder::new("encrypted"));
    let key = KeyPair::from_pem(PLAIN).unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.0).unwrap().pem();
    let pem = folder.write("own.pem", format!("{certificate}{ENCRYPTED}"));
    let one_line = ENCRYPTED.replace('\n', " ");
    let ways: [&[(&str, &str)]; 2] = [
        &[("ssl.keystore.location", &pem)],
        &[
            ("ssl.keystore.certificate.chain", &certificate),
            ("ssl.keystore.key", &one_line),
        ],
    ];
    for way in ways {
        let with = |password| [way, &[("ssl.key.password", password)]].concat();
        let world = World::with(configured(&with("changeit")));
        let stream = shake(&world, &authority.client(None)).await.unwrap();
        assert!(is_served(stream).await, "{way:?}");
        let wrong = refused(&with("hush"));
        assert!(
            wrong.contains("wrong ssl.key.password") && !wrong.contains("hush"),
            "{wrong}"
        );
        assert!(refused(way).contains("ssl.key.password is needed"));
    }
}

#[tokio::test]
async fn a_clients_certificate_says_who_it_is() {
    let (authority, folder) = (Authority::new(), Folder::new("clients"));
    let own = folder.write("own.pem", authority.sign(|_| {}).pem());
    let trusted = folder.write("trusted.pem", authority.0.pem());
    let alice = authority.sign(|params| {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "FR");
        name.push(DnType::OrganizationName, "Acme, Inc.");
        name.push(DnType::CommonName, "Alice");
        params.distinguished_name = name;
    });
    let asked = |rules, client_auth| {
        let pairs = [
            ("ssl.keystore.location", &*own),
            ("ssl.truststore.location", &*trusted),
            ("ssl.client.auth", client_auth),
            ("ssl.principal.mapping.rules", rules),
        ];
        World::with(configured(&pairs))
    };
    for (rules, name) in [
        ("DEFAULT", "User:CN=Alice,O=Acme\\, Inc.,C=FR"),
        ("RULE:^CN=([^,]*),.*$/$1/L,DEFAULT", "User:alice"),
    ] {
        let world = asked(rules, "required");
        let stream = shake(&world, &authority.client(Some(&alice)))
            .await
            .unwrap();
        assert!(is_served(stream).await);
        let stream = shake(&world, &authority.client(Some(&alice)))
            .await
            .unwrap();
        world.settle().await;
        assert!(
            principals(&world).contains(&name.to_owned()),
            "{:?}",
            principals(&world)
        );
        drop(stream);
    }
    let world = asked("RULE:^CN=bob$/bob/", "required");
    let stream = shake(&world, &authority.client(Some(&alice)))
        .await
        .unwrap();
    assert!(!is_served(stream).await);
    let world = asked("DEFAULT", "requested");
    let stream = shake(&world, &authority.client(None)).await.unwrap();
    world.settle().await;
    assert_eq!(principals(&world), ["User:ANONYMOUS"]);
    drop(stream);
    let stranger = Authority::new().sign(|_| {});
    let world = asked("DEFAULT", "required");
    for own in [None, Some(&stranger)] {
        // With TLS 1.3 a client is done before it is looked at.
        let served = match shake(&world, &authority.client(own)).await {
            Ok(stream) => is_served(stream).await,
            Err(_) => false,
        };
        assert!(!served);
    }
}

#[tokio::test]
async fn a_login_happens_within_tls_where_both_are_asked_for() {
    let world = World::with(|options| options.tls_self_signed(true).user("alice", "secret"));
    let listener = &world.broker.node().listeners[0];
    assert_eq!(listener.protocol.name(), "SASL_SSL");
    let authority = world.broker.authority().unwrap().to_owned();
    let stream = shake(&world, &client(&authority, None)).await.unwrap();
    assert!(!is_served(stream).await);
}

#[tokio::test]
async fn whoever_speaks_without_tls_where_there_is_tls_is_closed_and_named() {
    let reasons = Arc::new(Reasons::default());
    let observer = reasons.clone();
    let world = World::with(|options| options.tls_self_signed(true).observer(observer));
    for words in [
        &b"\0\0\0\x0a\0\x12\0\x04\0\0\0\x01\0\0"[..],
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = world.broker.connect();
        stream.write_all(words).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.first(), Some(&0x15), "an alert");
    }
    let reasons = reasons.0.lock().unwrap().clone();
    assert_eq!(reasons.len(), 2);
    assert!(
        reasons[0].contains("without TLS on a port with TLS"),
        "{reasons:?}"
    );
}

/// The first message of a client that speaks this version and these suites, and nothing newer.
fn hello(version: [u8; 2], suites: &[u16]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    let suites: Vec<u8> = suites
        .iter()
        .flat_map(|suite| suite.to_be_bytes())
        .collect();
    body.extend(u16::to_be_bytes(suites.len() as u16));
    body.extend(suites);
    body.extend([1, 0]);
    // Curves, the form of points, and how to sign: without them nobody could answer.
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 4, 1,
    ];
    body.extend(u16::to_be_bytes(extensions.len() as u16));
    body.extend(extensions);
    let mut message = vec![1];
    message.extend(&u32::to_be_bytes(body.len() as u32)[1..]);
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(u16::to_be_bytes(message.len() as u16));
    record.extend(message);
    record
}

/// Attacks, row 34: versions before 1.2 and ciphers that can be broken are not spoken, whoever asks for them.
#[tokio::test]
async fn old_versions_and_weak_ciphers_are_refused() {
    const ECDSA_GCM: u16 = 0xc02b;
    let weak = [
        0x0005, 0x000a, 0x002f, 0x0035, 0x003c, 0xc009, 0xc00a, 0xc023,
    ];
    let world = World::with(|options| options.tls_self_signed(true));
    let answer = async |words: Vec<u8>| {
        let mut stream = world.broker.connect();
        stream.write_all(&words).await.unwrap();
        let mut head = [0; 7];
        stream.read_exact(&mut head).await.unwrap();
        head
    };
    for (version, suites, code) in [
        // protocol_version
        ([3, 0], &[ECDSA_GCM][..], 70),
        ([3, 1], &[ECDSA_GCM], 70),
        ([3, 2], &[ECDSA_GCM], 70),
        // handshake_failure
        ([3, 3], &weak, 40),
    ] {
        let head = answer(hello(version, suites)).await;
        assert_eq!((head[0], head[5], head[6]), (21, 2, code), "{version:?}");
    }
    let head = answer(hello([3, 3], &[ECDSA_GCM])).await;
    assert_eq!(head[0], 22, "a handshake that goes on");
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_closed_after_the_time_that_a_login_has() {
    let world = World::with(|options| options.tls_self_signed(true));
    let mut stream = world.broker.connect();
    world.settle().await;
    assert_eq!(world.connections(), 1);
    for _ in 0..20 {
        world.advance_ms(1_000).await;
    }
    assert_eq!(world.connections(), 0);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let (old, new, folder) = (Authority::new(), Authority::new(), Folder::new("renewed"));
    let path = folder.write("own.pem", old.sign(|_| {}).pem());
    let world = World::with(configured(&[("ssl.keystore.location", &path)]));
    let before = shake(&world, &old.client(None)).await.unwrap();
    for broken in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        folder.write("own.pem", broken);
        world.advance_ms(LOOK_MS.unsigned_abs()).await;
        assert!(shake(&world, &old.client(None)).await.is_ok());
    }
    folder.write("own.pem", new.sign(|_| {}).pem());
    world.advance_ms(LOOK_MS.unsigned_abs()).await;
    assert!(shake(&world, &old.client(None)).await.is_err());
    let after = shake(&world, &new.client(None)).await.unwrap();
    assert!(is_served(after).await && is_served(before).await);
}

// Kafka's users name the renewed keystore by a dynamic config of the listener, and nothing happened.
#[tokio::test]
async fn a_certificate_that_is_named_while_the_broker_runs_is_taken_up() {
    let (old, new, folder) = (Authority::new(), Authority::new(), Folder::new("named"));
    let path = folder.write("old.pem", old.sign(|_| {}).pem());
    let next = folder.write("new.pem", new.sign(|_| {}).pem());
    let world = World::with(configured(&[("ssl.keystore.location", &path)]));
    let mut admin = shake(&world, &old.client(None))
        .await
        .map(|stream| Connection::over(stream, "memory", "test"))
        .unwrap();
    for (value, trusts) in [("/no/such/file", &old), (&*next, &new)] {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 4,
                resource_name: "1".into(),
                configs: vec![AlterableConfig {
                    name: "listener.name.ssl.ssl.keystore.location".into(),
                    config_operation: 0,
                    value: Some(value.into()),
                }],
            }],
            ..Default::default()
        };
        let answer = admin.call_in(1, &request).await.unwrap();
        assert_eq!(answer.body().unwrap().responses[0].error_code, 0);
        world.advance_ms(LOOK_MS.unsigned_abs()).await;
        let stream = shake(&world, &trusts.client(None)).await.unwrap();
        assert!(is_served(stream).await, "{value}");
    }
}

/// What a page answers over a socket with TLS.
async fn page(at: SocketAddr, config: ClientConfig) -> io::Result<String> {
    let stream = TcpStream::connect(at).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect("localhost".try_into().unwrap(), stream)
        .await?;
    let request = format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost:{}\r\nconnection: close\r\n\r\n",
        at.port()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn pages_are_served_with_the_listeners_certificate_and_ask_for_none() {
    let (authority, folder) = (Authority::new(), Folder::new("pages"));
    let own = folder.write("own.pem", authority.sign(|_| {}).pem());
    let trusted = folder.write("trusted.pem", authority.0.pem());
    let pairs = [
        ("ssl.keystore.location", &*own),
        ("ssl.truststore.location", &*trusted),
        ("ssl.client.auth", "required"),
    ];
    let reasons = Arc::new(Reasons::default());
    let options = configured(&pairs)(Broker::builder().http_port(0).http_tls(true));
    let broker = options.observer(reasons.clone()).start().unwrap();
    let at = broker.http().unwrap();
    let answer = page(at, authority.client(None)).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"),
        "{answer}"
    );
    // Whoever comes without TLS is closed, and the log says what to use.
    let mut plain = TcpStream::connect(at).await.unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&0x15), "an alert");
    let told = reasons.0.lock().unwrap().concat();
    assert!(told.contains("https for pages"), "{told}");

    let without = Broker::builder().sockets(false).http_tls(true);
    let told = without.check().unwrap_err().to_string();
    assert!(told.contains("--tls-self-signed"), "{told}");
}

#[test]
fn what_nobody_would_accept_is_refused_at_the_start() {
    let (authority, folder) = (Authority::new(), Folder::new("refused"));
    let store = |name, text: &str| folder.write(name, text);
    let expired = authority.sign(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = authority.sign(|params| params.not_before = date_time_ymd(2090, 1, 1));
    let own = authority.sign(|_| {});
    let good = store("good.pem", &own.pem());
    let mixed = format!("{}{}", own.certificate, early.key.serialize_pem());
    let encrypted = own
        .pem()
        .replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE");
    let jks = folder.write("old.jks", [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]);
    for (path, why) in [
        (store("expired.pem", &expired.pem()), "expired at"),
        (store("early.pem", &early.pem()), "not valid before"),
        (store("mixed.pem", &mixed), "do not fit"),
        (store("encrypted.pem", &encrypted), "encrypted"),
        (store("empty.pem", ""), "no private key"),
        (store("keyless.pem", &own.certificate), "no private key"),
        (jks, "keytool"),
        ("/no/such/file".to_owned(), "cannot read /no/such/file"),
    ] {
        let told = refused(&[("ssl.keystore.location", &path)]);
        assert!(
            told.contains(why) && told.contains("ssl.keystore.location"),
            "{told}"
        );
    }
    assert!(refused(&[]).contains("--tls-self-signed"));
    for (key, value, why) in [
        ("ssl.client.auth", "required", "ssl.truststore.location"),
        ("ssl.enabled.protocols", "TLSv1.1", "TLSv1.2, TLSv1.3"),
        (
            "ssl.cipher.suites",
            "TLS_RSA_WITH_NULL_MD5",
            "TLS_AES_128_GCM_SHA256",
        ),
        (
            "ssl.principal.mapping.rules",
            "RULE:x",
            "ssl.principal.mapping.rules",
        ),
    ] {
        let told = refused(&[("ssl.keystore.location", &good), (key, value)]);
        assert!(told.contains(why), "{key}: {told}");
    }
}
