//! `kafka-storage format`: makes a log directory one of a cluster, with what the cluster begins with.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use rustka_core::cluster::records::Record;
use rustka_core::cluster::records::control::Quorum;
use rustka_core::cluster::snapshot::{self, SnapshotId};
use rustka_core::names::CLUSTER_METADATA;
use rustka_core::security::facts::Fact;
use rustka_core::security::scram::Credential;
use rustka_core::security::users::Change;
use rustka_wire::voters_record::{Endpoint, KRaftVersionFeature, Voter, VotersRecord};
use rustka_wire::{Uuid, Writer};

use super::flags::{CONFIG, FEATURE, Flag, Flags, RELEASE};
use super::releases::{Release, feature};
use super::scram::{self, User};
use super::{META, cluster_id, directory, property, random_id};

const CLUSTER_ID: Flag = ("--cluster-id", "-t", true);
const IGNORE_FORMATTED: Flag = ("--ignore-formatted", "-g", false);
const STANDALONE: Flag = ("--standalone", "-s", false);
const NO_CONTROLLERS: Flag = ("--no-initial-controllers", "-N", false);
const CONTROLLERS: Flag = ("--initial-controllers", "-I", true);
const ADD_SCRAM: Flag = ("--add-scram", "-S", true);
const HELP: Flag = ("--help", "-h", false);

/// The flags of this command.
pub const FLAGS: &[Flag] = &[
    CLUSTER_ID,
    CONFIG,
    IGNORE_FORMATTED,
    STANDALONE,
    NO_CONTROLLERS,
    CONTROLLERS,
    ADD_SCRAM,
    RELEASE,
    FEATURE,
    HELP,
];

/// Formats as the flags say.
pub fn run(flags: &Flags) -> Result<ExitCode, String> {
    if flags.has(&HELP) {
        let names: Vec<&str> = FLAGS.iter().map(|(long, _, _)| *long).collect();
        println!("format takes: {}", names.join(", "));
        return Ok(ExitCode::SUCCESS);
    }
    let (id, config) = (flags.required(&CLUSTER_ID)?, flags.required(&CONFIG)?);
    if flags.has(&CONTROLLERS) {
        return Err("--initial-controllers is Kafka's, but not built in: one node is a cluster here, for which there is --standalone".to_owned());
    }
    let mode = check_quorum(flags, config)?;
    let release = flags
        .one(&RELEASE)
        .map_or(Ok(Release::NEWEST), Release::named)?;
    let chosen: Vec<(String, i16)> = flags
        .all(&FEATURE)
        .map(feature)
        .collect::<Result<_, String>>()?;
    let levels = release.levels(&chosen)?;
    let users: Vec<User> = flags
        .all(&ADD_SCRAM)
        .map(scram::parse)
        .collect::<Result<_, String>>()?;
    let directory = directory(config)?;
    let meta = directory.join(META);
    let shown = directory.display();
    if meta.exists() {
        let known = cluster_id(&directory).unwrap_or_default();
        if known != id {
            let file = meta.display();
            return Err(format!(
                "Invalid cluster.id in: {file}. Expected {id}, but read {known}"
            ));
        }
        if flags.has(&IGNORE_FORMATTED) {
            println!("All of the log directories are already formatted.");
            return Ok(ExitCode::SUCCESS);
        }
        return Err(format!(
            "Log directory {shown} is already formatted. Use --ignore-formatted to ignore this directory and format the others."
        ));
    }
    let node = property(config, "node.id")?.or(property(config, "broker.id")?);
    let node = node.unwrap_or("1".to_owned());
    let directory_id = random_id()?;
    let voters = match mode {
        Mode::Standalone => Some(voters(config, &node, directory_id)?),
        Mode::Static | Mode::NoVoter => None,
    };
    let quorum = voters.iter().flat_map(quorum);
    let records = quorum.chain(records(&levels, &users));
    let now_ms = now_ms();
    let bytes = snapshot::write(records, SnapshotId::FORMATTED.epoch, now_ms, now_ms)
        .map_err(|error| format!("cannot write what the cluster begins with: {error}"))?;
    let text = format!("version=1\ncluster.id={id}\nnode.id={node}\ndirectory.id={directory_id}\n");
    // Only a directory with its last file counts as formatted.
    let written = write_bootstrap(&directory, &bytes).and_then(|()| fs::write(&meta, text));
    written.map_err(|error| format!("cannot write {shown}: {error}"))?;
    println!(
        "Bootstrap metadata: {}",
        described(&levels, &users, release)
    );
    let kind = match mode {
        Mode::Static => "metadata directory",
        Mode::Standalone => "dynamic metadata voter directory",
        Mode::NoVoter => "dynamic metadata directory",
    };
    println!(
        "Formatting {kind} {shown} with metadata.version {}.",
        release.name()
    );
    Ok(ExitCode::SUCCESS)
}

/// How controllers find each other, which does not matter here, but to Kafka when it opens the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// By the config `controller.quorum.voters`.
    Static,
    /// This node is the only one, and says so in its metadata (KIP-853).
    Standalone,
    /// Others say so.
    NoVoter,
}

fn check_quorum(flags: &Flags, config: &str) -> Result<Mode, String> {
    let voters = property(config, "controller.quorum.voters")?.unwrap_or_default();
    let roles = property(config, "process.roles")?.unwrap_or_default();
    let dynamic = match (flags.has(&STANDALONE), flags.has(&NO_CONTROLLERS)) {
        (true, true) => {
            return Err("--standalone and --no-initial-controllers exclude each other".to_owned());
        }
        (true, false) => Some(Mode::Standalone),
        (false, true) => Some(Mode::NoVoter),
        (false, false) => None,
    };
    match (dynamic, voters.trim()) {
        (None, "") if roles.split(',').any(|role| role.trim() == "controller") => Err(
            "controller.quorum.voters is not set, so that one of --standalone, --initial-controllers and --no-initial-controllers is needed".to_owned(),
        ),
        (None, _) => Ok(Mode::Static),
        (Some(mode), "") => Ok(mode),
        (Some(_), _) => Err(
            "controller.quorum.voters is set, so that --standalone and --no-initial-controllers make no sense".to_owned(),
        ),
    }
}

/// This node as the one controller, where its listener for controllers is.
fn voters(config: &str, node: &str, directory_id: Uuid) -> Result<VotersRecord<'static>, String> {
    let names = property(config, "controller.listener.names")?.unwrap_or_default();
    let name = names
        .split(',')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let listeners = property(config, "advertised.listeners")?.into_iter();
    let listeners = listeners.chain(property(config, "listeners")?);
    let listeners: Vec<String> = listeners.collect();
    let entries = listeners
        .iter()
        .flat_map(|list| list.split(','))
        .map(str::trim);
    let found = entries
        .filter_map(|entry| entry.split_once("://"))
        .find(|(known, _)| *known == name);
    let address = found.and_then(|(_, address)| address.rsplit_once(':'));
    let Some((host, port)) = address else {
        return Err(format!(
            "--standalone needs a listener {name} among the listeners"
        ));
    };
    let port = port
        .parse()
        .map_err(|_| format!("listener {name} has no port"))?;
    let host = match host.trim_matches(['[', ']']) {
        "" | "0.0.0.0" | "::" => "localhost",
        host => host,
    };
    let voter_id = node
        .parse()
        .map_err(|_| format!("node.id is no number: {node}"))?;
    Ok(VotersRecord {
        version: 0,
        voters: vec![Voter {
            voter_id,
            voter_directory_id: directory_id,
            endpoints: vec![Endpoint {
                name: name.into(),
                host: host.to_owned().into(),
                port,
            }],
            kraft_version_feature: KRaftVersionFeature {
                min_supported_version: 0,
                max_supported_version: 1,
            },
        }],
    })
}

/// That this node votes alone, as its controller has it on record.
fn quorum(voters: &VotersRecord<'_>) -> [Record; 2] {
    let mut record = Writer::new();
    voters.encode(&mut record, 0);
    let voters = Quorum::Voters(record.buf.into());
    [Quorum::Version(1), voters].map(Record::Quorum)
}

fn records(levels: &[(&'static str, i16)], users: &[User]) -> Vec<Record> {
    let levels = levels.iter().map(|(name, level)| Record::Feature {
        name: (*name).into(),
        level: *level,
    });
    let users = users.iter().map(|user| {
        Record::from(Fact::User(Change {
            user: user.name.as_str().into(),
            strength: user.strength,
            credential: Some(user.credential.clone()),
        }))
    });
    levels.chain(users).collect()
}

fn write_bootstrap(directory: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = directory.join(format!("{CLUSTER_METADATA}-0"));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(SnapshotId::FORMATTED.to_string()), bytes)
}

/// What Kafka's tool prints of it.
fn described(levels: &[(&str, i16)], users: &[User], release: Release) -> String {
    let levels = levels
        .iter()
        .map(|(name, level)| format!("FeatureLevelRecord(name='{name}', featureLevel={level})"));
    let users = users.iter().map(|user| {
        let Credential { salt, stored_key, server_key, iterations } = &user.credential;
        format!(
            "UserScramCredentialRecord(name='{}', mechanism={}, salt={}, storedKey={}, serverKey={}, iterations={iterations})",
            user.name,
            user.strength.code(),
            signed(salt),
            signed(stored_key),
            signed(server_key),
        )
    });
    let records: Vec<String> = levels
        .chain(users)
        .map(|record| format!("ApiMessageAndVersion({record} at version 0)"))
        .collect();
    format!(
        "BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)",
        records.join(", "),
        release.level()
    )
}

/// Bytes as Java shows them.
fn signed(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes
        .iter()
        .map(|byte| byte.cast_signed().to_string())
        .collect();
    format!("[{}]", numbers.join(", "))
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    use rustka_client::clock::{Clock, SystemClock};
    SystemClock::default().wall_ms()
}
