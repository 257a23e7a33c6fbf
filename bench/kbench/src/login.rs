//! Logins: of the connections that are measured (`--login USER:PASSWORD`, by PLAIN), and as what is measured.

use crate::args::Args;
use crate::stat::{self, Meter};
use crate::wire::Conn;
use rustka_core::security::scram::{Strength, proof};
use rustka_wire::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialUpsertion,
};
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Who logs in by SCRAM, and how.
pub const USER: &str = "alice";
const PASSWORD: &str = "alice-secret";
const STRENGTH: Strength = Strength::Sha256;
const ITERATIONS: i32 = 4096;
/// A broker may know of a user a while after it has said so.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

static LOGIN: OnceLock<(String, String)> = OnceLock::new();

/// Every connection that is opened from now on logs in as `USER:PASSWORD` says.
pub fn set(text: &str) {
    let (user, password) = text.split_once(':').expect("--login USER:PASSWORD");
    LOGIN
        .set((user.to_owned(), password.to_owned()))
        .expect("one login");
}

/// Logs a new connection in, if that was asked for.
pub fn of(c: &mut Conn) -> io::Result<()> {
    let Some((user, password)) = LOGIN.get() else {
        return Ok(());
    };
    choose(c, "PLAIN")?;
    say(c, format!("\0{user}\0{password}").into_bytes()).map(drop)
}

fn choose(c: &mut Conn, mechanism: &str) -> io::Result<()> {
    let request = SaslHandshakeRequest {
        mechanism: mechanism.into(),
    };
    match c.call_at(1, &request)?.error_code {
        0 => Ok(()),
        code => Err(io::Error::other(format!("{mechanism}: error {code}"))),
    }
}

fn say(c: &mut Conn, message: Vec<u8>) -> io::Result<Vec<u8>> {
    let request = SaslAuthenticateRequest {
        auth_bytes: message.into(),
    };
    let told = c.call(&request)?;
    match told.error_code {
        0 => Ok(told.auth_bytes.into_owned()),
        code => Err(io::Error::other(format!("the login: error {code}"))),
    }
}

/// Logs a connection in by SCRAM-SHA-256.
pub fn scram(c: &mut Conn, nonce: u64) -> io::Result<()> {
    choose(c, STRENGTH.mechanism())?;
    let first = format!("n={USER},r=kbench{nonce}");
    let told = say(c, format!("n,,{first}").into_bytes())?;
    let told = String::from_utf8_lossy(&told);
    let last = proof(STRENGTH, PASSWORD, &first, &told);
    let last = last.ok_or_else(|| io::Error::other(format!("no challenge: {told}")))?;
    say(c, last).map(drop)
}

/// Makes the user by way of `admin`, and waits until it can log in at `door`.
pub fn make_user(admin: &str, door: &str) -> io::Result<Conn> {
    let salt = b"salt of kbench".to_vec();
    let request = AlterUserScramCredentialsRequest {
        upsertions: vec![ScramCredentialUpsertion {
            name: USER.into(),
            mechanism: STRENGTH.code(),
            iterations: ITERATIONS,
            salted_password: STRENGTH.salted(PASSWORD, &salt, ITERATIONS as u32).into(),
            salt: salt.into(),
        }],
        ..Default::default()
    };
    let mut c = Conn::open(admin)?;
    let told = c.call(&request)?;
    if let Some(refused) = told.results.iter().find(|one| one.error_code != 0) {
        return Err(io::Error::other(format!(
            "the user: error {}",
            refused.error_code
        )));
    }
    let give_up = Instant::now() + KNOWN_WITHIN;
    loop {
        let mut c = Conn::open(door)?;
        match scram(&mut c, 0) {
            Ok(()) => return Ok(c),
            Err(e) if Instant::now() > give_up => return Err(e),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// `logins --door HOST:PORT --n 2000`: each on a connection of its own.
pub fn run(a: &Args) {
    let (door, n) = (a.str("door", ""), a.num("n", 2_000));
    make_user(&a.addr(), &door).expect("the user");
    let m = Meter::start(a.pid());
    for nonce in 0..n {
        let mut c = Conn::open(&door).expect("connect");
        scram(&mut c, nonce as u64).expect("login");
    }
    let mut out = m.stop();
    let (secs, cpu) = (out[0].1, out[1].1);
    out.extend([
        ("logins", n as f64),
        ("logins_per_s", n as f64 / secs),
        ("logins_per_cpu_s", n as f64 / cpu),
        ("cpu_us_per_login", cpu / n as f64 * 1e6),
    ]);
    stat::print(&out);
}
