//! `kafka-storage` and `kafka-server-start`: the cluster's id is written into the first log directory in one, and taken from
//! there in the other, as Kafka does it. Records lie there as well.

mod flags;
mod format;
mod releases;
mod scram;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustka_wire::Uuid;

use self::flags::{CONFIG, FEATURE, Flags, RELEASE};
use super::{Start, launched};
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

/// Runs one of the tool's commands.
pub fn run(arguments: &[String]) -> Result<ExitCode, String> {
    const COMMANDS: &str =
        "give one of: info, format, version-mapping, feature-dependencies, random-uuid";
    let (command, rest) = arguments.split_first().ok_or(COMMANDS)?;
    match command.as_str() {
        "random-uuid" => println!("{}", random_id()?),
        "format" => return format::run(&Flags::read(format::FLAGS, rest)?),
        "info" => return info(Flags::read(&[CONFIG], rest)?.required(&CONFIG)?),
        "version-mapping" => {
            let flags = Flags::read(&[RELEASE], rest)?;
            releases::print_mapping(flags.one(&RELEASE))?;
        }
        "feature-dependencies" => {
            let flags = Flags::read(&[FEATURE], rest)?;
            flags.required(&FEATURE)?;
            releases::print_dependencies(flags.all(&FEATURE))?;
        }
        "-h" | "--help" => println!("{COMMANDS}"),
        _ => return Err(COMMANDS.to_owned()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what the log directories are formatted with. A failure if there is anything to be told against them.
fn info(config: &str) -> Result<ExitCode, String> {
    let directories = directories(config)?;
    let (mut found, mut problems, mut known) = (Vec::new(), Vec::new(), None);
    for directory in directories {
        let shown = directory.display().to_string();
        let meta = directory.join(META);
        if !directory.is_dir() {
            problems.push(format!("{shown} does not exist"));
        } else if !meta.is_file() {
            found.push(shown.clone());
            problems.push(format!("{shown} is not formatted."));
        } else {
            found.push(shown);
            known.get_or_insert(meta);
        }
    }
    let list = |one: &str, many: &str, lines: &[String]| {
        if !lines.is_empty() {
            println!("Found {}:", if lines.len() > 1 { many } else { one });
            lines.iter().for_each(|line| println!("  {line}"));
            println!();
        }
    };
    list("log directory", "log directories", &found);
    if let Some(meta) = known {
        let text = fs::read_to_string(&meta)
            .map_err(|error| format!("cannot read {}: {error}", meta.display()))?;
        let properties =
            properties::parse(&text).map_err(|why| format!("{}: {why}", meta.display()))?;
        let mut pairs: Vec<String> = properties
            .into_iter()
            .map(|property| format!("{}={}", property.key, property.value))
            .collect();
        pairs.sort();
        println!("Found metadata: {{{}}}\n", pairs.join(", "));
    }
    list("problem", "problems", &problems);
    Ok(match problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The log directories of a properties file; at least one.
fn directories(file: &str) -> Result<Vec<PathBuf>, String> {
    let listed = property(file, "log.dirs")?.or(property(file, "log.dir")?);
    let listed = listed.as_deref().unwrap_or(LOG_DIR).split(',');
    Ok(listed.map(|path| PathBuf::from(path.trim())).collect())
}

/// The first of them, which is the one that has data here.
fn directory(file: &str) -> Result<PathBuf, String> {
    Ok(directories(file)?.swap_remove(0))
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
