//! What a lock costs: TLS, logins and rights, beside those of Kafka. Each load runs once for code and caches first.

use super::peer::{Peer, figure};

/// A listener with TLS, and one with a login, so far above the port without either.
const TLS_ABOVE: u16 = 1_000;
const LOGIN_ABOVE: u16 = 2_000;

/// Where a load finds the listener with TLS, and whom to trust there.
pub fn tls(p: &Peer) -> String {
    let ca = p.folder().join("ca.pem");
    format!("--door {} --ca {}", p.beside_at(TLS_ABOVE), ca.display())
}

/// A load that ends with how much of it there is: first so much that is not measured, then so much that is.
fn warmed(p: &mut Peer, case: &str, load: &str, [first, then]: [u32; 2]) -> Result<(), String> {
    p.load(&format!("{load} {first}"))?;
    let figures = p.load(&format!("{load} {then}"))?;
    p.row(case, figures);
    Ok(())
}

/// Bytes by TLS, in and out.
pub fn tls_bytes(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t")?;
    let load = format!("tls-bytes --topic t {} --mb", tls(p));
    warmed(p, "tls-bytes", &load, [300, 1000])
}

/// Full handshakes.
pub fn handshakes(p: &mut Peer) -> Result<(), String> {
    let load = format!("handshakes {} --n", tls(p));
    warmed(p, "handshakes", &load, [3000, 3000])
}

/// Logins by SCRAM-SHA-256.
pub fn logins(p: &mut Peer) -> Result<(), String> {
    let load = format!("logins --door {} --n", p.beside_at(LOGIN_ABOVE));
    warmed(p, "logins", &load, [3000, 3000])
}

/// Metadata of 100 topics under 10,000 ACLs, beyond the same without ACLs.
pub fn rights(p: &mut Peer) -> Result<(), String> {
    p.load("create --prefix t --count 100")?;
    let figures = p.load(&format!("rights --door {}", p.beside_at(LOGIN_ABOVE)))?;
    p.row("rights", figures);
    Ok(())
}

/// Idle connections by TLS, after some that were closed again.
pub fn tls_conns(p: &mut Peer) -> Result<(), String> {
    let load = format!("tls-conns {} --count", tls(p));
    warmed(p, "tls-conns", &load, [20, 1000])
}

/// Start and memory with certificate, users and authorizer.
pub fn startup(p: &mut Peer) -> Result<(), String> {
    let ready = p.ready.clone();
    std::thread::sleep(std::time::Duration::from_secs(2));
    p.one("startup-secure", "api_ms", figure(&ready, "api_ms"));
    p.one("startup-secure", "rss_mib", p.memory_mib("VmRSS"));
    Ok(())
}
