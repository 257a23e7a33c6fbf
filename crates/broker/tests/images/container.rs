//! A container without a container engine: a root directory made by the Dockerfile's own steps, in namespaces of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub const RUSTKA: &str = env!("CARGO_BIN_EXE_rustka");
/// What the base image and `apk add` bring.
const TOOLS: [&str; 17] = [
    "sh", "bash", "env", "sed", "grep", "awk", "cat", "sleep", "cut", "chmod", "mkdir", "ln", "rm",
    "hostname", "id", "true", "touch",
];
/// Launchers give up after 10 to 60 seconds. Reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything the Dockerfile says of an image.
#[derive(Default)]
pub struct Image {
    steps: Vec<(String, String)>,
    variables: BTreeMap<String, String>,
    workdir: String,
    user: String,
    entrypoint: Vec<String>,
    command: Vec<String>,
    /// What the image looks at to know that it is well.
    pub health: Vec<String>,
}

/// Where the Dockerfile is.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images")
}

/// Reads a stage.
fn image(stage: &str) -> Image {
    let text = std::fs::read_to_string(folder().join("Dockerfile")).expect("a Dockerfile");
    let text = text.replace("\\\n", " ");
    let lines = text
        .lines()
        .skip_while(|line| !line.ends_with(&format!("AS {stage}")))
        .skip(1)
        .take_while(|line| !line.starts_with("FROM"));
    let mut image = Image {
        workdir: "/".to_owned(),
        ..Image::default()
    };
    for line in lines.filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (what, rest) = line.split_once(' ').expect(line);
        let list = || serde_json::from_str(rest).expect(line);
        match what {
            "ENV" => {
                let (name, value) = rest.split_once('=').expect(line);
                image.variables.insert(name.to_owned(), value.to_owned());
            }
            "WORKDIR" => image.workdir = rest.to_owned(),
            "USER" => image.user = rest.to_owned(),
            "ENTRYPOINT" => image.entrypoint = list(),
            "CMD" => image.command = list(),
            "HEALTHCHECK" => {
                let (_, command) = rest.split_once("CMD ").expect(line);
                image.health = serde_json::from_str(command).expect(line);
            }
            "EXPOSE" => {}
            "RUN" | "COPY" => image.steps.push((what.to_owned(), rest.to_owned())),
            other => panic!("a step that this test does not know: {other}"),
        }
    }
    image
}

/// Runs a script. Whatever is to be executed later is written by one: what this process has open to be written is so for a
/// moment in every process that another test starts meanwhile, and the system does not execute it as long as it is.
fn shell(script: &str) {
    let status = Command::new("bash")
        .args(["-ec", script])
        .status()
        .expect("sh runs");
    assert!(status.success(), "{script}");
}

/// Why containers cannot be imitated here.
pub fn missing() -> Option<&'static str> {
    let tried = Command::new("unshare")
        .args(["-m", "-n", "-u", "true"])
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        _ => Some("namespaces cannot be made: root and unshare are needed"),
    }
}

/// A root directory with the image's files, gone with the test.
pub struct Root {
    pub path: PathBuf,
    pub image: Image,
}

impl Root {
    fn build(test: &str, stage: &str) -> Root {
        let path = std::env::temp_dir().join(format!("rustka-image-{test}-{}", std::process::id()));
        let image = image(stage);
        let shown = path.display();
        for folder in [
            "bin", "usr/bin", "usr/sbin", "tmp", "dev", "proc", "etc", "home", "var/lib",
        ] {
            std::fs::create_dir_all(path.join(folder)).expect("a folder");
        }
        for tool in TOOLS {
            shell(&format!("cp -L \"$(type -P {tool})\" {shown}/bin/{tool}"));
        }
        shell(&format!(
            "ln -s /bin/env {shown}/usr/bin/env; chmod 1777 {shown}/tmp
            for file in {shown}/bin/* {RUSTKA}; do ldd $file | grep -o '/[^ ]*' ; done | sort -u |
            while read library; do mkdir -p {shown}$(dirname $library); cp -L $library {shown}$library; done
            printf '127.0.0.1 localhost box\\n' > {shown}/etc/hosts
            printf 'root:x:0:0::/:/bin/sh\\nappuser:x:1000:1000::/home/appuser:/bin/sh\\n' > {shown}/etc/passwd"
        ));
        let root = Root { path, image };
        for (what, rest) in &root.image.steps {
            match what.as_str() {
                "RUN" if rest.starts_with("apk add") => {}
                "RUN" => root.run(rest),
                _ => root.copy(rest),
            }
        }
        root
    }

    fn run(&self, script: &str) {
        let status = Command::new("chroot")
            .arg(&self.path)
            .args(["/bin/sh", "-ec", script])
            .env("PATH", "/usr/sbin:/usr/bin:/bin")
            .status();
        let path = self.path.display();
        assert!(
            status.expect("chroot runs").success(),
            "in {path}: {script}"
        );
    }

    fn copy(&self, words: &str) {
        let (from, to) = words.split_once(' ').expect(words);
        let from = match from {
            "rustka" => PathBuf::from(RUSTKA),
            from => folder().join(from),
        };
        let to = self.path.join(to.trim_start_matches('/'));
        let from = match from.is_dir() {
            true => from.join("."),
            false => from,
        };
        shell(&format!("cp -r {} {}", from.display(), to.display()));
    }

    /// Copies a file into the running container, in one step, as launchers do it.
    fn put(&self, path: &str, mode: u32, text: &str) {
        let to = self.path.join(path.trim_start_matches('/'));
        let (to, aside) = (to.display(), to.with_extension("coming"));
        let aside = aside.display();
        let mut put = Command::new("bash")
            .args([
                "-ec",
                &format!("cat > {aside}; chmod {mode:o} {aside}; mv {aside} {to}"),
            ])
            .stdin(Stdio::piped())
            .spawn()
            .expect("bash runs");
        let mut into = put.stdin.take().expect("a pipe");
        into.write_all(text.as_bytes()).expect("written");
        drop(into);
        assert!(put.wait().expect("it ends").success(), "{to}");
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Whatever is left lies among temporary files.
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// How a launcher starts its container.
#[derive(Default)]
pub struct Launch<'a> {
    pub name: &'a str,
    /// Of the Dockerfile; the compatible one if absent.
    pub stage: Option<&'a str>,
    pub user: Option<&'a str>,
    pub entrypoint: Option<&'a [&'a str]>,
    pub command: Option<&'a [&'a str]>,
    pub variables: &'a [(&'a str, &'a str)],
    /// A folder of this machine, and where it is mounted.
    pub volume: Option<(&'a Path, &'a str)>,
    /// Path, mode and text of what is copied into it while it runs.
    pub files: &'a [(&'a str, u32, &'a str)],
    /// What is waited for in the log.
    pub words: &'a str,
    /// Where a client outside finds the broker.
    pub address: &'a str,
}

/// A container, which ends with the test.
pub struct Container {
    process: Child,
    lines: Receiver<String>,
    /// All lines so far.
    pub log: String,
    pub root: Root,
}

impl Container {
    pub fn start(launch: &Launch<'_>) -> Container {
        let root = Root::build(launch.name, launch.stage.unwrap_or("compatible"));
        let own = |words: &Vec<String>| words.clone();
        let given = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let entrypoint = launch
            .entrypoint
            .map_or_else(|| own(&root.image.entrypoint), given);
        let command = match (launch.command, launch.entrypoint) {
            (Some(words), _) => given(words),
            (None, Some(_)) => Vec::new(),
            (None, None) => own(&root.image.command),
        };
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let path = root.path.display();
        let user = launch.user.unwrap_or(&root.image.user);
        let volume = launch.volume.map_or(String::new(), |(folder, at)| {
            let folder = folder.display();
            format!("mkdir -p {path}{at}; mount --bind {folder} {path}{at}")
        });
        let enter = format!(
            "ip link set lo up; hostname box; mount --rbind /dev {path}/dev; mount -t proc proc {path}/proc
            {volume}
            exec chroot --userspec={user} {path} /bin/sh -c 'cd {}; exec \"$@\"' - \"$@\"",
            root.image.workdir
        );
        let mut process = Command::new("unshare");
        process
            .args(["-m", "-n", "-u", "bash", "-ec", &enter, "-"])
            .args(entrypoint)
            .args(command)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .envs(&root.image.variables)
            .envs(launch.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("the pipe"))
            .stderr(writer)
            .process_group(0);
        let spawned = process.spawn().expect("unshare runs");
        // Its end of the pipe is closed with it.
        drop(process);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Container {
            process: spawned,
            lines,
            log: String::new(),
            root,
        }
    }

    pub fn wait(&mut self, words: &str) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                    if line.contains(words) {
                        return;
                    }
                }
                Err(why) => panic!("no {words:?}, {why}, in:\n{}", self.log),
            }
        }
    }

    /// Runs a program of this machine in the container's network.
    pub fn outside(&self, words: &[&str]) -> (bool, String) {
        self.enter(&["-n"], words)
    }

    fn enter(&self, namespaces: &[&str], words: &[&str]) -> (bool, String) {
        let output = Command::new("nsenter")
            .args(["-t", &self.process.id().to_string()])
            .args(namespaces)
            .arg("--")
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Runs a command in the container, as `docker exec` does.
    pub fn exec(&self, words: &[&str]) -> (bool, String) {
        let root = self.root.path.to_str().expect("text");
        let user = format!("--userspec={}", self.root.image.user);
        self.enter(&["-n", "-m"], &[&["chroot", &user, root], words].concat())
    }
}

impl Container {
    /// Stops it as an engine does, and waits until it has ended; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let group = format!("-{}", self.process.id());
        let told = Command::new("kill").args(["-TERM", "--", &group]).status();
        assert!(told.expect("kill runs").success());
        self.ended()
    }

    /// Waits until it has ended; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        // Whoever has the pipe open has not ended.
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        self.process.wait().expect("it ends").code()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // All that it started, in its group.
        let group = format!("-{}", self.process.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        drop(self.process.wait());
    }
}

/// Starts a container as the launcher does, and reads back what a client outside wrote.
pub fn launch(launch: &Launch<'_>, more: impl FnOnce(&mut Container)) {
    if let Some(why) = missing() {
        eprintln!("skipped: {}: {why}", launch.name);
        return;
    }
    let mut container = Container::start(launch);
    for (path, mode, text) in launch.files {
        container.root.put(path, *mode, text);
    }
    container.wait(launch.words);
    let told = container.log.clone();
    for words in [
        &["topic", "create", "t", "-p", "1", "-b", launch.address][..],
        &["produce", "t", "-b", launch.address, "-f", "/etc/hostname"],
    ] {
        let (is_fine, text) = container.outside(&[&[RUSTKA], words].concat());
        assert!(is_fine, "{}: {words:?}: {text}\n{told}", launch.name);
    }
    let (is_fine, text) = container.outside(&[RUSTKA, "consume", "t", "-b", launch.address]);
    let written = std::fs::read_to_string("/etc/hostname").expect("a name");
    assert!(
        is_fine && text.trim() == written.trim(),
        "{}: {text}\n{told}",
        launch.name
    );
    more(&mut container);
}
