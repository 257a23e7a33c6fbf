//! What can be set that is no config of Kafka's: flags, with the names that they have in files and in the environment.

use super::init_file;
use crate::users;
use rustka::Options;
use rustka::init::{Init, InitTopic};
use rustka::options::{LoginFile, parse_fsync, parse_size};
use rustka_core::security::jaas;

/// Sets a value; a sentence says what would be valid.
type Set = fn(Options, &str) -> Result<Options, String>;

/// How a flag stands on the command line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With a value, described for whoever leaves it out.
    Value(&'static str),
    /// Alone; `true` in a file.
    Switch,
    /// Not at all.
    None,
}

/// One of them.
pub struct Own {
    /// Its name in a file.
    pub key: &'static str,
    /// Its name on the command line.
    pub flag: &'static str,
    /// How it stands there.
    pub form: Form,
    /// Whether it can be given many times, each with an effect.
    pub many: bool,
    /// What of its value may be shown.
    pub shown: fn(&str) -> String,
    /// What it does.
    pub set: Set,
}

/// Less is a forgotten unit: one chunk of a log.
const MEMORY_MIN: u64 = 1 << 20;
/// Topics that one variable may ask for.
const TOPICS_MAX: usize = 10_000;

/// The key of the size of memory, which is a config of ours with a flag of its own.
pub const MEMORY: &str = "rustka.memory.limit";

/// The file of logins, as Java calls it.
pub const LOGIN_FILE: &str = "java.security.auth.login.config";

/// All of them.
pub const OWN: &[Own] = &[
    Own {
        key: "rustka.port",
        flag: "--port",
        form: Form::Value("a port number"),
        many: false,
        shown: all,
        set: |options, value| Ok(options.port(port(value)?)),
    },
    Own {
        key: "rustka.host",
        flag: "--host",
        form: Form::Value("an address"),
        many: false,
        shown: all,
        set: |options, value| Ok(options.host(value)),
    },
    Own {
        key: "rustka.http.port",
        flag: "--http-port",
        form: Form::Value("a port number"),
        many: false,
        shown: all,
        set: |options, value| Ok(options.http_port(port(value)?)),
    },
    Own {
        key: "rustka.http.token",
        flag: "--http-token",
        form: Form::Value("a token"),
        many: false,
        shown: none,
        set: |options, value| match value {
            "" => Err("a token that is not empty".to_owned()),
            token => Ok(options.http_token(token)),
        },
    },
    Own {
        key: "rustka.http.allowed.host",
        flag: "--http-allowed-host",
        form: Form::Value("a name"),
        many: true,
        shown: all,
        set: |options, value| {
            let hosts = value.split(',').map(str::trim);
            let hosts = hosts.filter(|host| !host.is_empty());
            Ok(hosts.fold(options, |options, host| options.http_allowed_host(host)))
        },
    },
    Own {
        key: "rustka.metrics.open",
        flag: "--metrics-open",
        form: Form::Switch,
        many: false,
        shown: all,
        set: |options, value| Ok(options.metrics_open(truth(value)?)),
    },
    Own {
        key: "rustka.http.tls",
        flag: "--http-tls",
        form: Form::Switch,
        many: false,
        shown: all,
        set: |options, value| Ok(options.http_tls(truth(value)?)),
    },
    Own {
        key: "rustka.data.dir",
        flag: "--data-dir",
        form: Form::Value("the name of a directory"),
        many: false,
        shown: all,
        set: |options, value| match value {
            "" => Err("the name of a directory".to_owned()),
            path => Ok(options.data_dir(path)),
        },
    },
    Own {
        key: "rustka.fsync",
        flag: "--fsync",
        form: Form::Value("always, interval:MS or never"),
        many: false,
        shown: all,
        set: |options, value| Ok(options.fsync(parse_fsync(value)?)),
    },
    Own {
        key: MEMORY,
        flag: "--memory-limit",
        form: Form::Value("a size, such as 512M"),
        many: false,
        shown: all,
        set: |options, value| {
            let expected = "bytes, or a whole number with K, M or G, such as 512M";
            match parse_size(value).ok_or(expected.to_owned())? {
                0 => Ok(options),
                bytes if bytes < MEMORY_MIN => {
                    Err("at least 1M, and 512 MiB are written 512M".to_owned())
                }
                bytes => Ok(options.config(MEMORY, bytes.to_string())),
            }
        },
    },
    Own {
        key: "rustka.strict",
        flag: "--strict",
        form: Form::Switch,
        many: false,
        shown: all,
        set: |options, value| Ok(options.strict(truth(value)?)),
    },
    Own {
        key: "rustka.user",
        flag: "--user",
        form: Form::Value("a name and a password as NAME:PASSWORD"),
        many: true,
        shown: |value| match value.split_once(':') {
            Some((name, _)) => format!("{name}:{HIDDEN}"),
            None => HIDDEN.to_owned(),
        },
        set: |options, value| {
            let (name, password) = users::parse_one(value)?;
            Ok(options.user(name, password))
        },
    },
    Own {
        key: "rustka.user.file",
        flag: "--user-file",
        form: Form::Value("the name of a file with NAME:PASSWORD in each line"),
        many: true,
        shown: all,
        set: |options, value| {
            let add = |options: Options, (name, password)| options.user(name, password);
            Ok(users::read(value)?.into_iter().fold(options, add))
        },
    },
    Own {
        key: "rustka.init.file",
        flag: "--init-file",
        form: Form::Value("the name of a file with topics, users and ACLs"),
        many: true,
        shown: all,
        set: |options, value| Ok(options.init(init_file::read(value)?)),
    },
    Own {
        key: "rustka.tls.self.signed",
        flag: "--tls-self-signed",
        form: Form::Switch,
        many: false,
        shown: all,
        set: |options, value| Ok(options.tls_self_signed(truth(value)?)),
    },
    Own {
        key: "cluster.id",
        flag: "",
        form: Form::None,
        many: false,
        shown: all,
        set: |options, value| Ok(options.cluster_id(value)),
    },
    Own {
        key: LOGIN_FILE,
        flag: "",
        form: Form::None,
        many: false,
        shown: all,
        set: |options, value| Ok(options.login_file(logins(value)?)),
    },
    Own {
        key: "create.topics",
        flag: "",
        form: Form::None,
        many: false,
        shown: all,
        set: |options, value| {
            Ok(options.init(Init {
                topics: topics(value)?,
                ..Init::default()
            }))
        },
    },
    Own {
        key: "advertised.host.name",
        flag: "",
        form: Form::None,
        many: false,
        shown: all,
        set: |options, value| Ok(options.advertised_host(value)),
    },
    Own {
        key: "advertised.host",
        flag: "",
        form: Form::None,
        many: false,
        shown: all,
        set: |options, value| Ok(options.advertised_host(value)),
    },
    Own {
        key: "advertised.port",
        flag: "",
        form: Form::None,
        many: false,
        shown: all,
        set: |options, value| Ok(options.advertised_port(port(value)?)),
    },
];

/// Stands for what must not be shown.
pub const HIDDEN: &str = "(secret)";

/// The one of this name.
pub fn find(key: &str) -> Option<&'static Own> {
    OWN.iter().find(|own| own.key == key)
}

fn all(value: &str) -> String {
    value.to_owned()
}

fn none(_: &str) -> String {
    HIDDEN.to_owned()
}

fn port(value: &str) -> Result<u16, String> {
    value
        .parse()
        .map_err(|_| "a port from 0 to 65535".to_owned())
}

fn truth(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// Logins as a file has them, in sections.
fn logins(path: &str) -> Result<LoginFile, String> {
    let wrong = |why: String| format!("a file of logins, which {path} is not: {why}");
    let text = crate::files::read(path).map_err(wrong)?;
    jaas::parse_file(&text).map_err(wrong)
}

/// Topics as the variable of wurstmeister's image has them: `NAME:PARTITIONS:REPLICAS[:CLEANUP_POLICY]`, with commas or
/// line ends between them.
fn topics(value: &str) -> Result<Vec<InitTopic>, String> {
    let items = value.split([',', '\n']).map(str::trim);
    let items: Vec<&str> = items.filter(|item| !item.is_empty()).collect();
    if items.len() > TOPICS_MAX {
        return Err(format!("at most {TOPICS_MAX} topics"));
    }
    items.into_iter().map(topic).collect()
}

fn topic(item: &str) -> Result<InitTopic, String> {
    let expected = || {
        let item = item.escape_debug();
        format!("NAME:PARTITIONS:REPLICAS with :CLEANUP_POLICY or without, and not '{item}'")
    };
    let parts: Vec<&str> = item.split(':').map(str::trim).collect();
    let number = |text: &str| match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(expected()),
    };
    let (name, rest) = parts.split_first().ok_or_else(expected)?;
    let partitions = match rest.first() {
        Some(partitions) => Some(number(partitions)?),
        None => None,
    };
    if let Some(replicas) = rest.get(1) {
        number(replicas)?;
    }
    let policy = rest.get(2).filter(|policy| !policy.is_empty());
    if rest.len() > 3 || name.is_empty() {
        return Err(expected());
    }
    Ok(InitTopic {
        name: (*name).to_owned(),
        partitions,
        configs: policy
            .map(|policy| ("cleanup.policy".to_owned(), (*policy).to_owned()))
            .into_iter()
            .collect(),
    })
}
