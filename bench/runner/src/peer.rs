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
    pub sizes: Sizes,
}

/// How much lies in files where a case is about much of it.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// 10⁹ bytes of values.
    pub gb: f64,
    /// Over how many partitions, where a broker is started with them.
    pub partitions: u32,
}

/// A started peer; its process ends with it.
pub struct Peer<'a> {
    pub name: &'a str,
    /// What starts it here.
    pub script: &'a str,
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
        script: &'a str,
        port: u16,
    ) -> Result<Peer<'a>, String> {
        let folder = tools.data.join(format!("{script}-{port}"));
        clear(&folder)?;
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let started_ns = unix_ns();
        let child = launch(tools, script, port, &folder)?;
        let login = fs::read_to_string(tools.peers.join(format!("{script}.login")));
        let mut peer = Peer {
            name,
            script,
            tools,
            address: format!("127.0.0.1:{port}"),
            folder,
            login: login.ok(),
            pid: child.id(),
            child,
            ready: Figures::new(),
            rows: Vec::new(),
        };
        let stamps = peer.told(&format!("ready --secs {READY_SECS}"))?;
        let started_ns = peer.begun(started_ns);
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

    /// When it began: at `spawned`, or at the moment that its script has written down, for example after a format step.
    fn begun(&self, spawned: f64) -> f64 {
        let text = fs::read_to_string(self.folder.join("t0")).unwrap_or_default();
        let written = text.trim().parse::<f64>();
        written.map_or(spawned, |seconds| seconds * 1e9)
    }

    /// Starts it again over its folder, by `script`, and waits for what `line` waits for: milliseconds from its start on
    /// for what is told in nanoseconds, everything else as it is told.
    pub fn start_again(&mut self, script: &str, line: &str) -> Result<Figures, String> {
        match fs::remove_file(self.folder.join("t0")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(format!("t0: {e}")),
            _ => {}
        }
        let spawned = unix_ns();
        self.child = launch(self.tools, script, self.port(), &self.folder)?;
        self.pid = self.child.id();
        let told = self.told(line)?;
        self.pid = broker_of(self.child.id());
        let began = self.begun(spawned);
        let since = |(name, value): (String, f64)| match name.strip_suffix("_ns") {
            Some(what) => (format!("{what}_ms"), (value - began) / 1e6),
            None => (name, value),
        };
        Ok(told.into_iter().map(since).collect())
    }

    /// Waits until it has done what `line` waits for, or has ended.
    fn told(&mut self, line: &str) -> Result<Figures, String> {
        let failed = |e| format!("kbench {line}: {e}");
        let mut command = self.command(line);
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
            .ok_or_else(|| format!("kbench {line}: not in time{}", self.said()))
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

    /// Starts one kbench command that has nobody to talk to when the peer is killed.
    pub fn beside_until_killed(&self, line: &str) -> Result<Child, String> {
        let mut command = self.command(line);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|e| format!("timeout kbench: {e}"))
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
        self.end(STOP)
    }

    /// Ends the peer's process in order, within so long; its folder stays.
    pub fn end(&mut self, within: Duration) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("the peer ended by itself: {status}"));
        }
        signal("TERM", self.child.id())?;
        let asked = Instant::now();
        while asked.elapsed() < within {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) => return Ok(()),
                Err(e) => return Err(format!("wait: {e}")),
            }
        }
        Err("the peer did not end when asked".to_owned())
    }

    /// Kills the peer's process; its folder stays.
    pub fn kill(&mut self) -> Result<(), String> {
        signal("KILL", self.pid)?;
        let ended = self.child.wait();
        ended.map(|_| ()).map_err(|e| format!("wait: {e}"))
    }

    /// How much is to lie in files.
    pub fn sizes(&self) -> Sizes {
        self.tools.sizes
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

/// Runs a script, whose process the kernel ends when this one dies.
fn launch(tools: &Tools, script: &str, port: u16, folder: &Path) -> Result<Child, String> {
    let path = tools.peers.join(format!("{script}.sh"));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(&path);
    spawn(tools, command, port, folder)
        .or_else(|_| spawn(tools, Command::new(&path), port, folder))
        .map_err(|e| format!("{}: {e}", path.display()))
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
