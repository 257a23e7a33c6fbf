//! What a lock costs: TLS, logins and rights, beside those of Kafka. Each load runs once for code and caches first.

use super::peer::{Peer, figure};

/// A listener with TLS, and one with a login, so far above the port without either.
const TLS_ABOVE: u16 = 1_000;
const LOGIN_ABOVE: u16 = 2_000;

fn tls(p: &Peer) -> String {
    let ca = p.folder().join("ca.pem");
    format!("--door {} --ca {}", p.beside_at(TLS_ABOVE), ca.display())
}

/// Bytes by TLS, in and out.
pub fn tls_bytes(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t")?;
    let load = format!("tls-bytes --topic t {}", tls(p));
    p.load(&format!("{load} --mb 300"))?;
    let figures = p.load(&format!("{load} --mb 1000"))?;
    p.row("tls-bytes", figures);
    Ok(())
}

/// Full handshakes.
pub fn handshakes(p: &mut Peer) -> Result<(), String> {
    let load = format!("handshakes {} --n", tls(p));
    p.load(&format!("{load} 3000"))?;
    let figures = p.load(&format!("{load} 3000"))?;
    p.row("handshakes", figures);
    Ok(())
}

/// Logins by SCRAM-SHA-256.
pub fn logins(p: &mut Peer) -> Result<(), String> {
    let load = format!("logins --door {} --n", p.beside_at(LOGIN_ABOVE));
    p.load(&format!("{load} 3000"))?;
    let figures = p.load(&format!("{load} 3000"))?;
    p.row("logins", figures);
    Ok(())
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
    p.load(&format!("{load} 20"))?;
    let figures = p.load(&format!("{load} 1000"))?;
    p.row("tls-conns", figures);
    Ok(())
}

/// Start and memory with certificate, users and authorizer.
pub fn startup(p: &mut Peer) -> Result<(), String> {
    let ready = p.ready.clone();
    std::thread::sleep(std::time::Duration::from_secs(2));
    p.one("startup-secure", "api_ms", figure(&ready, "api_ms"));
    p.one("startup-secure", "rss_mib", p.memory_mib("VmRSS"));
    Ok(())
}
