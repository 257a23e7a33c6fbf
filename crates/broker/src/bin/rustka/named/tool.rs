//! What Kafka's tools have in common here: how they are called, how they reach a cluster, and how they fail. What they print
//! and return is Kafka's, for scripts; but a broker that cannot be reached is told at once, with exit code 1.

use std::collections::BTreeMap;
use std::process::ExitCode;

use rustka_client::error::Reason;
use rustka_client::{Client, Error};
use rustka_core::error::ErrorCode;

use super::options::{Given, Specs};
use crate::cli::connect::Reach;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Output};
use crate::properties::{self, Property};

/// The version of Kafka's tools whose output this is.
const VERSION: &str = "4.4.0";

/// A tool's options.
pub struct Tool {
    /// What there is.
    pub options: Specs,
    /// What Kafka's tool has beside that.
    pub not_here: &'static [&'static str],
    /// The option that names a file of client properties; more than one where old names still work.
    pub config_options: &'static [&'static str],
    /// What the tool calls itself on connections, where that shows.
    pub client_id: Option<&'static str>,
    /// How a sentence on an option's value is told.
    pub mistake: fn(String) -> Failed,
}

/// A tool that was called.
pub struct Call {
    /// Its options.
    pub given: Given,
    /// Its standard output.
    pub output: Output,
    config_options: &'static [&'static str],
    client_id: Option<&'static str>,
}

/// How a tool fails.
#[derive(Debug)]
pub enum Failed {
    /// The arguments make no sense. The options are listed after the sentence.
    Usage(String),
    /// A sentence on standard error.
    Complaint(String),
    /// A sentence on standard output, as some of Kafka's tools do it.
    Told(String),
    /// The cluster refused or cannot be reached. Tools put their own words around it.
    Asked(Error),
    /// Nobody reads the output any more.
    Unread,
}

/// What tools come to.
pub type Outcome<T = ()> = Result<T, Failed>;

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Asked(error)
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        match failure {
            Failure::Unread => Failed::Unread,
            other => Failed::Complaint(other.to_string()),
        }
    }
}

impl Failed {
    /// The same failure, where the cluster refused, in the tool's words.
    pub fn in_words(self, words: impl FnOnce(&Error) -> Failed) -> Failed {
        match self {
            Failed::Asked(error) => words(&error),
            other => other,
        }
    }
}

impl Call {
    /// A client that has reached the cluster of `--bootstrap-server`.
    pub async fn client(&self) -> Outcome<Client> {
        Ok(self.reach(&[])?.client().await?)
    }

    /// How the cluster is reached: as the file of properties says, and before it options such as `--command-property k=v`.
    pub fn reach(&self, property_options: &[&str]) -> Outcome<Reach> {
        let bootstrap = self
            .given
            .required("bootstrap-server")
            .map_err(Failed::Usage)?;
        let file = self
            .config_options
            .iter()
            .find_map(|name| self.given.one(name));
        let mut reach = Reach::at(bootstrap, file.map(AsRef::as_ref))?;
        if let (None, Some(name)) = (reach.property("client.id"), self.client_id) {
            reach.set("client.id", name);
        }
        for (key, value) in self.given.pairs(property_options) {
            reach.set(key, value);
        }
        Ok(reach)
    }

    /// Prints a line.
    pub fn line(&mut self, text: &str) -> Outcome {
        Ok(self.output.line(text)?)
    }
}

/// Runs a tool and says how it ended.
pub fn run(
    name: &str,
    tool: &Tool,
    arguments: &[String],
    perform: impl AsyncFnOnce(&mut Call) -> Outcome,
) -> ExitCode {
    let outcome = match Given::read(tool.options, tool.not_here, arguments) {
        Err(sentence) => Err(Failed::Usage(sentence)),
        Ok(given) if given.has("help") => Err(Failed::Usage(format!(
            "{name} of Kafka {VERSION} as Rustka has it; output and exit codes are those of Kafka's tool"
        ))),
        Ok(given) if given.has("version") => {
            println!("{VERSION}");
            Ok(())
        }
        Ok(given) => {
            let mut call = Call {
                given,
                output: Output::new(Format::Table),
                config_options: tool.config_options,
                client_id: tool.client_id,
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => {
                    let outcome = match call.given.once(tool.options) {
                        Ok(()) => runtime.block_on(perform(&mut call)),
                        Err(sentence) => Err((tool.mistake)(sentence)),
                    };
                    // A thread that waits for input that never comes is not waited for.
                    runtime.shutdown_background();
                    outcome
                }
                Err(error) => Err(Failed::Complaint(format!("cannot start: {error}"))),
            }
        }
    };
    match outcome {
        Ok(()) | Err(Failed::Unread) => return ExitCode::SUCCESS,
        Err(Failed::Usage(sentence)) => {
            eprintln!("{sentence}\n\nOptions: {}", listed(tool.options));
        }
        Err(Failed::Complaint(sentence)) => eprintln!("{sentence}"),
        Err(Failed::Told(sentence)) => println!("{sentence}"),
        Err(Failed::Asked(error)) => eprintln!("{}", message(&error)),
    }
    ExitCode::FAILURE
}

fn listed(options: Specs) -> String {
    let names: Vec<String> = options
        .iter()
        .map(|(name, _)| format!("--{name}"))
        .collect();
    names.join(" ")
}

/// The properties of a file, and before them those of options such as `--property k=v`.
pub fn properties(
    given: &Given,
    file: Option<&str>,
    property_options: &[&str],
) -> Outcome<BTreeMap<String, String>> {
    let mut properties = BTreeMap::new();
    if let Some(file) = file {
        let read = properties_of(file)?.into_iter();
        properties.extend(read.map(|one| (one.key, one.value)));
    }
    let pairs = given.pairs(property_options);
    properties.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
    Ok(properties)
}

/// The properties of a file, in order.
pub fn properties_of(file: &str) -> Outcome<Vec<Property>> {
    let cannot = |why: String| Failed::Complaint(format!("{file}: {why}"));
    let text = std::fs::read_to_string(file).map_err(|error| cannot(error.to_string()))?;
    properties::parse(&text).map_err(cannot)
}

/// Old names of options still do, but are told on standard error; an old one and its new one together do not.
pub fn renamed(given: &Given, names: &[(&str, &str)]) -> Outcome {
    for (old, new) in names.iter().filter(|(old, _)| given.has(old)) {
        given.excludes(old, &[new]).map_err(Failed::Usage)?;
        eprintln!("--{old} is called --{new} now");
    }
    Ok(())
}

/// What the broker said, or else what its code means.
pub fn message(error: &Error) -> String {
    match &error.reason {
        Reason::Refused {
            message: Some(message),
            ..
        } => message.clone(),
        _ => match error.code() {
            // What Kafka's clients say where the broker says nothing; scripts look for it.
            Some(ErrorCode::UnknownTopicOrPartition) => {
                "This server does not host this topic-partition.".to_owned()
            }
            Some(ErrorCode::GroupIdNotFound) => "The group id does not exist.".to_owned(),
            Some(ErrorCode::OffsetOutOfRange) => {
                "The requested offset is not within the range of offsets maintained by the server."
                    .to_owned()
            }
            Some(ErrorCode::NonEmptyGroup) => "The group is not empty.".to_owned(),
            _ => error.to_string(),
        },
    }
}

/// The name of the exception that Kafka's clients have for an error.
fn class(error: &Error) -> String {
    let name = match error.code() {
        None => return "org.apache.kafka.common.KafkaException".to_owned(),
        Some(ErrorCode::NonEmptyGroup) => "GroupNotEmptyException".to_owned(),
        Some(ErrorCode::TopicAlreadyExists) => "TopicExistsException".to_owned(),
        Some(ErrorCode::InvalidConfig) => "InvalidConfigurationException".to_owned(),
        Some(ErrorCode::MessageTooLarge) => "RecordTooLargeException".to_owned(),
        Some(code) => {
            let name = format!("{code:?}");
            format!("{}Exception", name.trim_end_matches("Exception"))
        }
    };
    format!("org.apache.kafka.common.errors.{name}")
}

/// The exception with what it says, as Kafka's clients print it.
pub fn exception(error: &Error) -> String {
    format!("{}: {}", class(error), message(error))
}

/// Matches names against one of Kafka's patterns: a regular expression for the whole name, in which a comma is an "or".
pub fn pattern(text: &str) -> Outcome<regex_lite::Regex> {
    let either = text.trim().replace(',', "|").replace(['"', '\''], "");
    regex_lite::Regex::new(&format!("^(?:{either})$"))
        .map_err(|error| Failed::Complaint(format!("{text} is not a valid regex: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_pattern_is_an_or_and_the_whole_name_counts() {
        let either = pattern("o.*,plain").unwrap();
        assert!(either.is_match("orders") && either.is_match("plain"));
        assert!(!either.is_match("complain") && !either.is_match("plains"));
        assert!(pattern("(").is_err());
    }
}
