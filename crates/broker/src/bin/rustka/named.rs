//! The binary under names that launchers of Kafka and Redpanda call: `kafka-server-start`, `kafka-storage`, `rpk`, `nc` and
//! `zookeeper-server-start`, each with or without `.sh`, by a link to it. Under any other name it is `rustka`.

mod netcat;
mod redpanda;
mod storage;
mod zookeeper;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The words that launchers look for in the output before they believe that a broker serves.
const READY_WORDS: &str = "[KafkaServer id=1] started, Kafka Server started, Transitioning from RECOVERY to RUNNING, \
    Started Kafka API server, Successfully started Redpanda!, Creating new log file, \
    Checking need to trigger auto leader balancing (what launchers wait for)";

/// What the name and the arguments come to.
pub enum Called {
    /// A broker, as `rustka` starts it.
    Broker(Start),
    /// Something else, which is done.
    Done(ExitCode),
}

/// How a broker is to be started.
pub struct Start {
    /// Arguments as `rustka` takes them.
    pub arguments: Vec<OsString>,
    /// Variables that the environment does not set itself.
    pub variables: Vec<(String, String)>,
    /// One more line to be printed when the broker serves.
    pub ready_words: Option<&'static str>,
    /// The exit code for arguments that make no sense.
    pub usage_code: u8,
}

impl Start {
    /// Whether the arguments are a command of `rustka`'s instead; other names know none.
    pub fn is_command(&self) -> bool {
        self.ready_words.is_none() && crate::cli::is_command(self.arguments.first())
    }
}

/// Looks at the name by which the binary was called.
pub fn called(mut arguments: impl Iterator<Item = OsString>) -> Called {
    let path = arguments.next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let name = name.strip_suffix(".sh").unwrap_or(&name);
    let texts = |arguments: &mut dyn Iterator<Item = OsString>| -> Vec<String> {
        arguments
            .map(|text| text.to_string_lossy().into_owned())
            .collect()
    };
    let ended = match name {
        "kafka-server-start" => storage::server(texts(&mut arguments)).map(Called::Broker),
        "rpk" => redpanda::rpk(&texts(&mut arguments)).map(Called::Broker),
        "kafka-storage" => storage::run(&texts(&mut arguments)).map(Called::Done),
        "zookeeper-server-start" => zookeeper::run(&texts(&mut arguments)).map(Called::Done),
        "nc" => return Called::Done(netcat::run(&texts(&mut arguments))),
        _ => {
            return Called::Broker(Start {
                arguments: arguments.collect(),
                variables: Vec::new(),
                ready_words: None,
                usage_code: 2,
            });
        }
    };
    ended.unwrap_or_else(|sentence| {
        eprintln!("{name}: {sentence}");
        Called::Done(ExitCode::FAILURE)
    })
}

/// A broker started by one of Kafka's or Redpanda's own names.
fn launched(arguments: Vec<OsString>, variables: Vec<(String, String)>) -> Start {
    Start {
        arguments,
        variables,
        ready_words: Some(READY_WORDS),
        usage_code: 1,
    }
}

/// The value of a flag that was given as `--flag=value`, or else the next argument.
fn value_of(
    flag: &str,
    attached: Option<&str>,
    rest: &mut std::slice::Iter<'_, String>,
) -> Result<String, String> {
    let value = attached.map(str::to_owned).or_else(|| rest.next().cloned());
    value.ok_or(format!("{flag} needs a value"))
}
