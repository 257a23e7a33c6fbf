//! The command line: flags and what they set. Every mistake is one sentence that names it and, where one is near, what was
//! meant.

use crate::settings::own::{Form, OWN};
use crate::settings::{Place, Setting};
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
  --http-tls           pages with the certificate of the first listener that has one, and not without TLS
  --data-dir DIR       keep records in files there, in Kafka's format; without it they are in memory
  --fsync WHEN         make them durable always, interval:MS, or never [always]
  --memory-limit SIZE  memory for records and requests: bytes, or K, M, G [a quarter of what is there]
  --strict             Kafka's own defaults and checks wherever Rustka's differ
  --user NAME:PASSWORD  somebody who may log in; may be given many times, and closes the door to all others
  --user-file FILE     the same from a file, NAME:PASSWORD in each line
  --init-file FILE     topics, users and ACLs that are to be there, in YAML; only adds and raises
  --tls-self-signed    TLS with certificates made for this start; prints the one that clients have to trust
  -c KEY=VALUE         any Kafka broker config; may be given many times; also --override
  --version            print the version
  --help               print this

Flags stand before RUSTKA_* variables, these before KAFKA_* (KAFKA_NUM_PARTITIONS=3), these before the file.
`rustka config explain`, with the same flags, says what holds and where it comes from.
Logs go to stderr; RUST_LOG sets what is logged.";

/// Flags that set nothing by themselves.
const OTHERS: [&str; 5] = ["--config", "-c", "--override", "--version", "--help"];

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
    /// What is set, in the order in which it stands there.
    pub settings: Vec<Setting>,
    /// What makes no sense.
    pub mistakes: Vec<String>,
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Parsed {
    let mut flags = Flags::default();
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let (flag, mut attached) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                (flag.to_owned(), Some(value.to_owned()))
            }
            _ => (argument, None),
        };
        match flag.as_str() {
            "--version" | "-V" => {
                return Parsed::Print(format!("rustka {}", env!("CARGO_PKG_VERSION")));
            }
            "--help" | "-h" => return Parsed::Print(HELP.to_owned()),
            _ => {}
        }
        let mut value = || attached.take().or_else(|| arguments.next());
        if let Err(mistake) = flags.take(&flag, &mut value) {
            flags.mistakes.push(mistake);
            // Perhaps its value, and no file.
            arguments.next_if(|next| !next.starts_with('-'));
        } else if let Some(extra) = attached {
            let mistake = format!("{flag} takes no value, but was given {extra}");
            flags.mistakes.push(mistake);
        }
    }
    Parsed::Run(flags)
}

impl Flags {
    /// Takes one flag, and its value if it has one.
    fn take(
        &mut self,
        flag: &str,
        value: &mut dyn FnMut() -> Option<String>,
    ) -> Result<(), String> {
        let mut needed = |what: &str| value().ok_or(format!("{flag} needs {what}"));
        let own = OWN
            .iter()
            .find(|own| own.form != Form::None && own.flag == flag);
        let (key, value) = match (own, flag) {
            (Some(own), _) => (
                own.key.to_owned(),
                match own.form {
                    Form::Value(what) => needed(what)?,
                    Form::Switch | Form::None => "true".to_owned(),
                },
            ),
            (None, "--config") => {
                self.file = Some(needed("the name of a properties file")?);
                return Ok(());
            }
            (None, "-c" | "--override") => {
                let pair = needed("a config as key=value")?;
                let Some((key, value)) = pair.split_once('=') else {
                    return Err(format!("{flag} {pair} is not of the form key=value"));
                };
                (key.trim().to_owned(), value.to_owned())
            }
            (None, file) if !file.starts_with('-') && self.file.is_none() => {
                self.file = Some(file.to_owned());
                return Ok(());
            }
            (None, unknown) => return Err(unknown_flag(unknown)),
        };
        let place = Place::Flag(flag.to_owned());
        self.settings.push(Setting { key, value, place });
        Ok(())
    }
}

fn unknown_flag(flag: &str) -> String {
    let own = OWN.iter().map(|own| own.flag);
    let known = own.chain(OTHERS).filter(|known| !known.is_empty());
    match rustka_core::config::nearest_name(flag, known) {
        Some(known) => format!("unknown flag {flag}; the nearest is {known} (see --help)"),
        None => format!("unknown flag {flag} (see --help)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Flags {
        match parse(arguments.iter().map(OsString::from)) {
            Parsed::Run(flags) => flags,
            Parsed::Print(_) => panic!("{arguments:?} print something"),
        }
    }

    #[test]
    fn mistakes_are_named_with_what_was_meant() {
        let flags = parsed(&["--prot", "file", "--strict=yes", "-c", "novalue", "--port"]);
        let expected = [
            "unknown flag --prot; the nearest is --port (see --help)",
            "--strict takes no value, but was given yes",
            "-c novalue is not of the form key=value",
            "--port needs a port number",
        ];
        assert_eq!(flags.mistakes, expected);
    }

    #[test]
    fn each_flag_is_a_setting_with_its_place() {
        let flags = parsed(&["a.properties", "--port=1", "-c", "a.b=c=d", "--strict"]);
        assert_eq!(flags.file.as_deref(), Some("a.properties"));
        let told: Vec<_> = (flags.settings.iter())
            .map(|one| (&*one.key, &*one.value, one.place.to_string()))
            .collect();
        let expected = [
            ("rustka.port", "1", "--port"),
            ("a.b", "c=d", "-c"),
            ("rustka.strict", "true", "--strict"),
        ];
        assert_eq!(told, expected.map(|(a, b, c)| (a, b, c.to_owned())));
    }
}
