//! The command line. Every mistake is one sentence that names it and, where one is near, what was meant.

use crate::users;
use rustka::Options;
use rustka::options::parse_size;
use std::ffi::OsString;

const HELP: &str = "\
rustka: a Kafka broker that starts in milliseconds

Usage: rustka [FLAGS] [FILE]

  FILE, --config FILE  a properties file of configs, such as server.properties

  --port N             port for Kafka clients, 0 for a free one [9092]
  --host ADDRESS       address to listen on [127.0.0.1 and ::1]
  --http-port N        port for the dashboard, health and metrics, 0 for a free one [8080, or a free one if taken]
  --http-token TOKEN   who shows it may change things on the dashboard from elsewhere than this machine
  --http-allowed-host NAME  a name by which the dashboard may be asked for; may be given many times
  --metrics-open       metrics for everybody, also where clients have to log in
  --memory-limit SIZE  memory for records and requests: bytes, or K, M, G [a quarter of what is there]
  --strict             Kafka's own defaults and checks wherever Rustka's differ
  --user NAME:PASSWORD  somebody who may log in; may be given many times, and closes the door to all others
  --user-file FILE     the same from a file, NAME:PASSWORD in each line
  --tls-self-signed    TLS with certificates made for this start; prints the one that clients have to trust
  -c KEY=VALUE         any Kafka broker config; may be given many times; also --override
  --version            print the version
  --help               print this

Flags stand before RUSTKA_* variables, these before KAFKA_* (KAFKA_NUM_PARTITIONS=3), these before the file.
Logs go to stderr; RUST_LOG sets what is logged.";

/// One log chunk. Whoever gives less has forgotten the unit.
const MEMORY_MIN: u64 = 1 << 20;

const FLAGS: &[&str] = &[
    "--port",
    "--host",
    "--http-port",
    "--http-token",
    "--http-allowed-host",
    "--metrics-open",
    "--memory-limit",
    "--strict",
    "--user",
    "--user-file",
    "--tls-self-signed",
    "--config",
    "-c",
    "--override",
    "--version",
    "--help",
];

/// What the command line asks for.
pub enum Parsed {
    /// To run a broker.
    Run(Flags),
    /// To print this and end.
    Print(String),
}

/// What the flags say about a broker.
#[derive(Default)]
pub struct Flags {
    /// A properties file.
    pub file: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    http_port: Option<u16>,
    http_token: Option<String>,
    http_allowed_hosts: Vec<String>,
    metrics_open: bool,
    memory_limit: Option<u64>,
    strict: bool,
    tls_self_signed: bool,
    users: Vec<(String, String)>,
    configs: Vec<(String, String)>,
}

impl Flags {
    /// Puts the flags over what was set elsewhere.
    pub fn over(self, mut options: Options) -> Options {
        if let Some(host) = self.host {
            options = options.host(host);
        }
        if let Some(port) = self.port {
            options = options.port(port);
        }
        if let Some(port) = self.http_port {
            options = options.http_port(port);
        }
        if let Some(token) = self.http_token {
            options = options.http_token(token);
        }
        for host in self.http_allowed_hosts {
            options = options.http_allowed_host(host);
        }
        if self.metrics_open {
            options = options.metrics_open(true);
        }
        if let Some(bytes) = self.memory_limit {
            options = options.memory_limit(bytes);
        }
        if self.tls_self_signed {
            options = options.tls_self_signed(true);
        }
        if self.strict {
            options = options.strict(true);
        }
        for (name, password) in self.users {
            options = options.user(name, password);
        }
        for (key, value) in self.configs {
            options = options.config(key, value);
        }
        options
    }
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Parsed, String> {
    let mut flags = Flags::default();
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        let (flag, mut attached) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                (flag.to_owned(), Some(value.to_owned()))
            }
            _ => (argument, None),
        };
        let mut value = |what: &str| {
            attached
                .take()
                .or_else(|| arguments.next())
                .ok_or(format!("{flag} needs {what}"))
        };
        match flag.as_str() {
            "--port" => flags.port = Some(port(&flag, &value("a port number")?)?),
            "--http-port" => flags.http_port = Some(port(&flag, &value("a port number")?)?),
            "--http-token" => flags.http_token = Some(value("a token")?),
            "--http-allowed-host" => flags.http_allowed_hosts.push(value("a name")?),
            "--metrics-open" => flags.metrics_open = true,
            "--host" => flags.host = Some(value("an address")?),
            "--config" => flags.file = Some(value("the name of a properties file")?),
            file if !file.starts_with('-') && flags.file.is_none() => {
                flags.file = Some(file.to_owned());
            }
            "--memory-limit" => {
                let text = value("a size, such as 512M")?;
                let size = parse_size(&text).ok_or_else(|| {
                    format!("--memory-limit {text} is not a size: give bytes, or a whole number with K, M or G, such as 512M")
                })?;
                if size < MEMORY_MIN {
                    return Err(format!(
                        "--memory-limit {text} is too little: at least 1M, and 512 MiB are written 512M"
                    ));
                }
                flags.memory_limit = Some(size);
            }
            "--tls-self-signed" => flags.tls_self_signed = true,
            "--strict" => flags.strict = true,
            "--user" => {
                let pair = value("a name and a password as NAME:PASSWORD")?;
                flags.users.push(users::parse_one(&pair, "--user")?);
            }
            "--user-file" => {
                let path = value("the name of a file with NAME:PASSWORD in each line")?;
                flags.users.extend(users::read(&path)?);
            }
            "-c" | "--override" => {
                let pair = value("a config as key=value")?;
                let (key, value) = pair
                    .split_once('=')
                    .ok_or(format!("{flag} {pair} is not of the form key=value"))?;
                flags.configs.push((key.to_owned(), value.to_owned()));
            }
            "--version" | "-V" => {
                return Ok(Parsed::Print(format!(
                    "rustka {}",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            "--help" | "-h" => return Ok(Parsed::Print(HELP.to_owned())),
            unknown => return Err(unknown_flag(unknown)),
        }
        if let Some(extra) = attached {
            return Err(format!("{flag} takes no value, but was given {extra}"));
        }
    }
    Ok(Parsed::Run(flags))
}

fn port(flag: &str, text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("{flag} {text} is not a port: give a number from 0 to 65535"))
}

fn unknown_flag(flag: &str) -> String {
    match rustka_core::config::nearest_name(flag, FLAGS.iter().copied()) {
        Some(known) => format!("unknown flag {flag}; the nearest is {known} (see --help)"),
        None => format!("unknown flag {flag} (see --help)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(arguments: &[&str]) -> String {
        match parse(arguments.iter().map(OsString::from)) {
            Err(sentence) => sentence,
            Ok(_) => panic!("{arguments:?} was accepted"),
        }
    }

    #[test]
    fn mistakes_are_named_with_what_was_meant() {
        assert_eq!(
            error(&["--prot", "1"]),
            "unknown flag --prot; the nearest is --port (see --help)"
        );
        assert_eq!(
            error(&["--port", "x"]),
            "--port x is not a port: give a number from 0 to 65535"
        );
        assert_eq!(error(&["--port"]), "--port needs a port number");
        assert_eq!(
            error(&["--strict=yes"]),
            "--strict takes no value, but was given yes"
        );
        assert!(
            error(&["--memory-limit", "much"]).starts_with("--memory-limit much is not a size")
        );
        assert!(error(&["--memory-limit", "512"]).starts_with("--memory-limit 512 is too little"));
        assert_eq!(
            error(&["-c", "novalue"]),
            "-c novalue is not of the form key=value"
        );
    }
}
