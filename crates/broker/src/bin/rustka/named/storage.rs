//! `kafka-storage` and `kafka-server-start`: the cluster's id is written into the first log directory in one, and taken from
//! there in the other, as Kafka does it. Records lie there as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustka_wire::Uuid;

use super::{Start, launched, value_of};
use crate::properties;

/// Where Kafka keeps its logs if no config says otherwise.
const LOG_DIR: &str = "/tmp/kafka-logs";
/// The file that marks a directory as formatted.
const META: &str = "meta.properties";

/// How a broker starts with a properties file: its arguments are those of `rustka`, but that there has to be a file.
pub fn server(arguments: Vec<String>) -> Result<Start, String> {
    const USAGE: &str = "USAGE: kafka-server-start server.properties [--override property=value]*";
    let is_question = |text: &String| ["--version", "--help", "-h", "-V"].contains(&text.as_str());
    let mut variables = Vec::new();
    if !arguments.iter().any(is_question) {
        let file = arguments.first().filter(|file| !file.starts_with('-'));
        let file = file.ok_or(match arguments.first().map(String::as_str) {
            Some("-daemon") => {
                "-daemon is Kafka's, but not built in: let the shell or systemd keep it running"
                    .to_owned()
            }
            _ => USAGE.to_owned(),
        })?;
        if let Some(id) = cluster_id(&directory(file)?) {
            variables.push(("CLUSTER_ID".to_owned(), id));
        }
    }
    let arguments = arguments.into_iter().map(Into::into).collect();
    Ok(launched(arguments, variables))
}

/// `random-uuid` and `format`.
pub fn run(arguments: &[String]) -> Result<ExitCode, String> {
    match arguments.first().map(String::as_str) {
        Some("random-uuid") => println!("{}", random_id()?),
        Some("format") => return format(&asked(&arguments[1..])?),
        Some(known @ ("info" | "version-mapping" | "feature-dependencies")) => {
            return Err(format!(
                "{known} is Kafka's, but not built in; there are random-uuid and format"
            ));
        }
        _ => return Err("give one of: random-uuid, format".to_owned()),
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    cluster_id: String,
    config: String,
    ignores_formatted: bool,
}

fn asked(arguments: &[String]) -> Result<Asked, String> {
    /// Long flags may be cut short, as long as they stay clear.
    const FLAGS: [(&str, &str); 10] = [
        ("--cluster-id", "-t"),
        ("--config", "-c"),
        ("--ignore-formatted", "-g"),
        ("--standalone", "-s"),
        ("--no-initial-controllers", "-N"),
        ("--initial-controllers", "-I"),
        ("--add-scram", "-S"),
        ("--release-version", "-r"),
        ("--feature", "-f"),
        ("--help", "-h"),
    ];
    let mut asked = Asked::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (flag, attached) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
            _ => (argument.as_str(), None),
        };
        let is_meant = |(long, short): &&(&str, &str)| {
            flag == *short || (flag.len() > 2 && flag.starts_with("--") && long.starts_with(flag))
        };
        let mut meant = FLAGS.iter().filter(is_meant);
        let (Some((long, _)), None) = (meant.next(), meant.next()) else {
            return Err(format!("unrecognized argument {flag}"));
        };
        match *long {
            "--cluster-id" => asked.cluster_id = value_of(long, attached, &mut rest)?,
            "--config" => asked.config = value_of(long, attached, &mut rest)?,
            "--ignore-formatted" => asked.ignores_formatted = true,
            // There is no quorum of controllers to begin.
            "--standalone" | "--no-initial-controllers" => {}
            "--add-scram" => {
                return Err(
                    "--add-scram is Kafka's, but not built in: give the broker its users by RUSTKA_USER=NAME:PASSWORD or RUSTKA_USER_FILE"
                        .to_owned(),
                );
            }
            known => return Err(format!("{known} is Kafka's, but not built in")),
        }
    }
    for (value, flag) in [
        (&asked.cluster_id, "--cluster-id/-t"),
        (&asked.config, "--config/-c"),
    ] {
        if value.is_empty() {
            return Err(format!("argument {flag} is required"));
        }
    }
    Ok(asked)
}

fn format(asked: &Asked) -> Result<ExitCode, String> {
    let directory = directory(&asked.config)?;
    let meta = directory.join(META);
    let shown = directory.display();
    if meta.exists() {
        let known = cluster_id(&directory).unwrap_or_default();
        if asked.ignores_formatted && known == asked.cluster_id {
            println!("All of the log directories are already formatted.");
            return Ok(ExitCode::SUCCESS);
        }
        if asked.ignores_formatted {
            let file = meta.display();
            return Err(format!(
                "Invalid cluster.id in: {file}. Expected {}, but read {known}",
                asked.cluster_id
            ));
        }
        return Err(format!(
            "Log directory {shown} is already formatted. Use --ignore-formatted to ignore this directory and format the others."
        ));
    }
    let node = property(&asked.config, "node.id")?.or(property(&asked.config, "broker.id")?);
    let text = format!(
        "version=1\ncluster.id={}\nnode.id={}\ndirectory.id={}\n",
        asked.cluster_id,
        node.as_deref().unwrap_or("1"),
        random_id()?,
    );
    let written = fs::create_dir_all(&directory).and_then(|()| fs::write(&meta, text));
    written.map_err(|error| format!("cannot write {}: {error}", meta.display()))?;
    println!(
        "Formatting metadata directory {shown} for a broker that keeps its records in memory."
    );
    Ok(ExitCode::SUCCESS)
}

/// The first log directory of a properties file.
fn directory(file: &str) -> Result<PathBuf, String> {
    let directories = property(file, "log.dirs")?.or(property(file, "log.dir")?);
    let first = directories
        .as_deref()
        .and_then(|list| list.split(',').next());
    Ok(PathBuf::from(first.map(str::trim).unwrap_or(LOG_DIR)))
}

fn property(file: &str, key: &str) -> Result<Option<String>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let properties = properties::parse(&text).map_err(|why| format!("{file}: {why}"))?;
    let found = properties
        .into_iter()
        .rev()
        .find(|property| property.key == key);
    Ok(found.map(|property| property.value))
}

/// The id that a formatted directory remembers.
fn cluster_id(directory: &Path) -> Option<String> {
    let file = directory.join(META);
    property(file.to_str()?, "cluster.id").ok().flatten()
}

/// A random id that no shell takes for a flag.
fn random_id() -> Result<Uuid, String> {
    loop {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
        let id = Uuid(bytes);
        if !id.to_string().starts_with('-') {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Asked, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        asked(&words)
    }

    #[test]
    fn flags_may_be_cut_short_as_long_as_they_are_clear() {
        let full = of(&["--cluster", "x", "--conf=f", "--ignore"]).unwrap();
        let short = of(&["-t", "x", "-c", "f", "-g"]).unwrap();
        assert_eq!(full, short);
        assert!(full.ignores_formatted);
        for (wrong, told) in [
            (&["--c", "x"][..], "--c"),
            (&["-t", "x"], "--config/-c"),
            (&["-t"], "needs a value"),
            (
                &[
                    "-t",
                    "x",
                    "-c",
                    "f",
                    "--add-scram",
                    "SCRAM-SHA-256=[name=a,password=b]",
                ],
                "RUSTKA_USER",
            ),
            (
                &["-t", "x", "-c", "f", "--release-version", "4.0"],
                "not built in",
            ),
            (&["--frobnicate"], "--frobnicate"),
        ] {
            let error = of(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong:?}: {error}");
        }
    }
}
