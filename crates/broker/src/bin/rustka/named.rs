//! The binary under the names of others' tools, each with or without `.sh`, by a link to it: what launchers call
//! (`kafka-server-start`, `kafka-storage`, `rpk`, `nc`, `zookeeper-server-start`), and Kafka's tools for whoever knows these by
//! heart. Under any other name it is `rustka`.

mod acls;
mod cluster;
mod configs;
mod consumer;
mod groups;
mod netcat;
mod options;
mod producer;
mod quotas;
mod redpanda;
mod reset;
mod storage;
mod time;
mod tool;
mod topics;
mod transactions;
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
    let is_ours = ["kafka-", "zookeeper-"]
        .iter()
        .any(|start| name.starts_with(start));
    if !is_ours && !["rpk", "nc"].contains(&name) {
        return Called::Broker(Start {
            arguments: arguments.collect(),
            variables: Vec::new(),
            ready_words: None,
            usage_code: 2,
        });
    }
    let arguments: Vec<String> = arguments
        .map(|text| text.to_string_lossy().into_owned())
        .collect();
    if let Some(code) = tool(name, &arguments) {
        return Called::Done(code);
    }
    let ended = match name {
        "kafka-server-start" => storage::server(arguments).map(Called::Broker),
        "rpk" => redpanda::rpk(&arguments).map(Called::Broker),
        "kafka-storage" => storage::run(&arguments).map(Called::Done),
        "zookeeper-server-start" => zookeeper::run(&arguments).map(Called::Done),
        "nc" => return Called::Done(netcat::run(&arguments)),
        _ => Err("Kafka has a tool of this name, perhaps; it is not built in".to_owned()),
    };
    ended.unwrap_or_else(|sentence| {
        eprintln!("{name}: {sentence}");
        Called::Done(ExitCode::FAILURE)
    })
}

/// Runs one of Kafka's tools for administrators.
fn tool(name: &str, arguments: &[String]) -> Option<ExitCode> {
    Some(match name {
        "kafka-topics" => tool::run(name, &topics::TOOL, arguments, topics::run),
        "kafka-consumer-groups" => tool::run(name, &groups::TOOL, arguments, groups::run),
        "kafka-configs" => tool::run(name, &configs::TOOL, arguments, configs::run),
        "kafka-acls" => tool::run(name, &acls::TOOL, arguments, acls::run),
        "kafka-console-producer" => tool::run(name, &producer::TOOL, arguments, producer::run),
        "kafka-console-consumer" => tool::run(name, &consumer::TOOL, arguments, consumer::run),
        "kafka-get-offsets" => {
            tool::run(name, &cluster::GET_OFFSETS, arguments, cluster::get_offsets)
        }
        "kafka-delete-records" => tool::run(
            name,
            &cluster::DELETE_RECORDS,
            arguments,
            cluster::delete_records,
        ),
        "kafka-broker-api-versions" => tool::run(
            name,
            &cluster::API_VERSIONS,
            arguments,
            cluster::api_versions,
        ),
        "kafka-transactions" => transactions::start(name, arguments),
        "kafka-log-dirs" => tool::run(name, &cluster::LOG_DIRS, arguments, cluster::log_dirs),
        _ => return None,
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
