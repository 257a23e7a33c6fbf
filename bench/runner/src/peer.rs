//! One running broker under measurement, and the load generator against it.

use super::Figures;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

/// How long a peer may take to answer for the first time.
const READY_SECS: u32 = 90;
/// How long one load may take before it is ended.
const LOAD_SECS: u32 = 300;
/// How long a peer may take to end by itself.
const STOP: Duration = Duration::from_secs(10);

/// Programs and folders.
pub struct Tools {
    pub peers: PathBuf,
    pub data: PathBuf,
    pub kbench: PathBuf,
    pub rustka: Option<PathBuf>,
}

/// A started peer; its process ends with it.
pub struct Peer<'a> {
    pub name: &'a str,
    tools: &'a Tools,
    address: String,
    folder: PathBuf,
    /// As whom every load logs in, where everybody has to.
    login: Option<String>,
    child: Child,
    pid: u32,
    /// Milliseconds from its start to its first answers.
    pub ready: Figures,
    /// What has been measured: case, figures.
    pub rows: Vec<(String, Figures)>,
}

/// The value of one figure.
pub fn figure(figures: &Figures, name: &str) -> f64 {
    figures
        .iter()
        .find(|(n, _)| n == name)
        .map_or(f64::NAN, |(_, v)| *v)
}

fn unix_ns() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_nanos() as f64)
}

impl<'a> Peer<'a> {
    /// Starts `script` and waits until it has taken and given back a record.
    pub fn start(
        tools: &'a Tools,
        name: &'a str,
        script: &str,
        port: u16,
    ) -> Result<Peer<'a>, String> {
        let folder = tools.data.join(format!("{script}-{port}"));
        clear(&folder)?;
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let path = tools.peers.join(format!("{script}.sh"));
        let mut started_ns = unix_ns();
        // the kernel ends the peer when this process dies
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(&path);
        let child = spawn(tools, command, port, &folder)
            .or_else(|_| spawn(tools, Command::new(&path), port, &folder))
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let login = fs::read_to_string(tools.peers.join(format!("{script}.login")));
        let mut peer = Peer {
            name,
            tools,
            address: format!("127.0.0.1:{port}"),
            folder,
            login: login.ok(),
            pid: child.id(),
            child,
            ready: Figures::new(),
            rows: Vec::new(),
        };
        let stamps = peer.first_answers()?;
        // a later zero, e.g. after a format step
        if let Ok(text) = fs::read_to_string(peer.folder.join("t0"))
            && let Ok(seconds) = text.trim().parse::<f64>()
        {
            started_ns = seconds * 1e9;
        }
        peer.ready = [
            ("api_ns", "api_ms"),
            ("metadata_ns", "metadata_ms"),
            ("roundtrip_ns", "roundtrip_ms"),
        ]
        .map(|(from, to)| (to.to_owned(), (figure(&stamps, from) - started_ns) / 1e6))
        .to_vec();
        peer.pid = broker_of(peer.child.id());
        Ok(peer)
    }

    /// Waits until it is ready, or has ended.
    fn first_answers(&mut self) -> Result<Figures, String> {
        let failed = |e| format!("kbench ready: {e}");
        let mut command = self.command(&format!("ready --secs {READY_SECS}"));
        let mut ready = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
        while ready.try_wait().map_err(failed)?.is_none() {
            if let Ok(Some(status)) = self.child.try_wait() {
                ready.kill().map_err(failed)?;
                ready.wait().map_err(failed)?;
                return Err(format!("the peer ended by itself: {status}{}", self.said()));
            }
            thread::sleep(Duration::from_millis(1));
        }
        let output = ready.wait_with_output().map_err(failed)?;
        parse(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| format!("not ready in {READY_SECS} s{}", self.said()))
    }

    /// The last line of the peer's log.
    fn said(&self) -> String {
        let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        log.lines()
            .last()
            .map_or_else(String::new, |line| format!(": {line}"))
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        let port = self.address.rsplit(':').next();
        port.and_then(|port| port.parse().ok()).unwrap_or(0)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Another listener of it, so far above its port.
    pub fn beside_at(&self, above: u16) -> String {
        format!("127.0.0.1:{}", self.port() + above)
    }

    /// The folder with its data, and what its script has left there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps figures under the name of a row.
    pub fn row(&mut self, case: &str, figures: Figures) {
        self.rows.push((case.to_owned(), figures));
    }

    /// Keeps one figure.
    pub fn one(&mut self, case: &str, metric: &str, value: f64) {
        self.row(case, vec![(metric.to_owned(), value)]);
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("timeout");
        command.arg(LOAD_SECS.to_string()).arg(&self.tools.kbench);
        command.args(line.split_whitespace());
        command.args(["--addr", &self.address, "--pid", &self.pid.to_string()]);
        if let Some(login) = &self.login {
            command.args(["--login", login.trim()]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs one kbench command to its end.
    pub fn load(&self, line: &str) -> Result<Figures, String> {
        let output = self
            .command(line)
            .output()
            .map_err(|e| format!("timeout kbench: {e}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
        if !output.status.success() {
            // a panic says where on its first line and what on its second
            let what = said.lines().filter(|l| !l.trim().is_empty()).take(2);
            let what = what.collect::<Vec<_>>().join(" ");
            return Err(format!("kbench {line}: {} {what}", output.status));
        }
        if !first.is_empty() {
            eprintln!("  {}: {line}: {first}", self.name);
        }
        parse(&String::from_utf8_lossy(&output.stdout)).ok_or(format!("kbench {line}: no figures"))
    }

    /// Starts one kbench command beside others; it ends by itself.
    pub fn beside(&self, line: &str) -> Result<Child, String> {
        self.command(line)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| format!("timeout kbench: {e}"))
    }

    /// A field of /proc/PID/status in MiB.
    pub fn memory_mib(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        status
            .lines()
            .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
            .map_or(f64::NAN, |kib| kib / 1024.0)
    }

    /// Number of its threads.
    pub fn threads(&self) -> f64 {
        fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(f64::NAN, |d| d.count() as f64)
    }

    /// Counts the system calls of all its threads while `line` runs: (name, calls), the sum first.
    pub fn system_calls(&self, line: &str) -> Result<(Figures, Figures), String> {
        let log = self.folder.join("strace.txt");
        let mut strace = Command::new("strace")
            .args(["-c", "-f", "-U", "calls,name", "-o"])
            .arg(&log)
            .args(["-p", &self.pid.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("strace: {e}"))?;
        // it has no way to tell that it is attached to every thread
        thread::sleep(Duration::from_millis(2500));
        let figures = self.load(line);
        signal("INT", strace.id())?;
        strace.wait().map_err(|e| format!("strace: {e}"))?;
        let text = fs::read_to_string(&log).map_err(|e| format!("strace: {e}"))?;
        let mut calls = Figures::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(count), Some(name), None) = (words.next(), words.next(), words.next())
                && let Ok(count) = count.parse::<f64>()
            {
                let name = if name == "total" { "all" } else { name };
                calls.push((name.to_owned(), count));
            }
        }
        Ok((figures?, calls))
    }

    /// Ends the peer in order; an error when it had to be killed, or died before.
    pub fn stop(mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("the peer ended by itself: {status}"));
        }
        signal("TERM", self.child.id())?;
        let asked = Instant::now();
        while asked.elapsed() < STOP {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) => return Ok(()),
                Err(e) => return Err(format!("wait: {e}")),
            }
        }
        Err("the peer did not end when asked".to_owned())
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let killed = self.child.kill().and_then(|()| self.child.wait());
            if let Err(e) = killed {
                eprintln!("  {}: {e}", self.name);
            }
        }
        if let Err(e) = clear(&self.folder) {
            eprintln!("  {}: {e}", self.name);
        }
    }
}

/// Runs the script, at once or through another program.
fn spawn(tools: &Tools, mut command: Command, port: u16, folder: &Path) -> std::io::Result<Child> {
    command.arg(port.to_string()).arg(folder);
    command.stdin(Stdio::null()).env("KBENCH", &tools.kbench);
    if let Some(rustka) = &tools.rustka {
        command.env("RUSTKA_BIN", rustka);
    }
    command.spawn()
}

fn clear(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {e}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Sends a signal to a process of ours.
fn signal(name: &str, pid: u32) -> Result<(), String> {
    Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status()
        .map(|_| ())
        .map_err(|e| format!("kill: {e}"))
}

/// The script's own process when it has replaced itself by the broker, else its deepest only child.
fn broker_of(script: u32) -> u32 {
    let mut pid = script;
    loop {
        let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}"));
        let name = read("comm").unwrap_or_default();
        let children = read(&format!("task/{pid}/children")).unwrap_or_default();
        let mut children = children.split_whitespace();
        match (name.trim(), children.next(), children.next()) {
            ("bash" | "sh", Some(child), None) => match child.parse() {
                Ok(child) => pid = child,
                Err(_) => return pid,
            },
            _ => return pid,
        }
    }
}

/// The object of numbers that kbench prints.
fn parse(text: &str) -> Option<Figures> {
    let value: serde_json::Value = serde_json::from_str(text.trim()).ok()?;
    let fields = value.as_object()?.iter();
    Some(
        fields
            .map(|(k, v)| (k.clone(), v.as_f64().unwrap_or(f64::NAN)))
            .collect(),
    )
}
