//! `cargo xtask docs`: writes `docs/options.md`, every config that there is and what it does here.

use rustka_core::config::{
    BrokerConfig, ConfigDefault, ConfigKey, Scope, documentation, is_dynamic, is_honoured, keys,
};
use std::fmt::Write;

use super::root;

const INTRO: &str = "\
# Options

Made by `cargo xtask docs`; do not edit.

Every broker config can be given as `-c KEY=VALUE`, as a variable named as in Kafka's container images
(`KAFKA_NUM_PARTITIONS=3` is `num.partitions=3`; `__` stands for `_` and `___` for `-`) or in a properties file
(`rustka --config server.properties`). Flags win over `RUSTKA_…` variables, these over `KAFKA_…`, these over
`KAFKA_CFG_…`, these over the file. Without a name it is looked for where Kafka's images have it:
`/mnt/shared/config/server.properties`, `/opt/kafka/config/server.properties`, `/etc/kafka/kafka.properties`; an empty
`RUSTKA_CONFIG` leaves them alone.

A value that makes no sense ends the start with exit code 2 and a line that says where it was given and what would be
valid; all mistakes are told at once. So does a flag or a `-c` of a name that nobody knows, a variable whose name misses
one of the door's (`ssl.`, `sasl.`, listeners, ACLs) by a letter or two, and what would be dangerous to ignore, such as a
policy or a provider of secrets in a Java class. Other names that mean nothing are told once in the log. `rustka config
explain`, with the same flags, prints what would hold and where each value comes from.

| flag | variable | in the file |
|---|---|---|
| `--port N` | `RUSTKA_PORT` | `rustka.port` |
| `--host ADDRESS` | `RUSTKA_HOST` | `rustka.host` |
| `--http-port N` | `RUSTKA_HTTP_PORT` | `rustka.http.port` |
| `--data-dir DIR` | `RUSTKA_DATA_DIR` | `rustka.data.dir` |
| `--fsync WHEN` | `RUSTKA_FSYNC` | `rustka.fsync` |
| `--memory-limit SIZE` | `RUSTKA_MEMORY_LIMIT` | `rustka.memory.limit` |
| `--strict` | `RUSTKA_STRICT=true` | `rustka.strict` |
| `--user NAME:PASSWORD` | `RUSTKA_USER` | `rustka.user` |
| `--user-file FILE` | `RUSTKA_USER_FILE` | `rustka.user.file` |
| `--config FILE`, or only `FILE` | `RUSTKA_CONFIG` | |
| `--http-token TOKEN` | `RUSTKA_HTTP_TOKEN` | `rustka.http.token` |
| `--http-allowed-host NAME` | `RUSTKA_HTTP_ALLOWED_HOST` | `rustka.http.allowed.host` |
| `--metrics-open` | `RUSTKA_METRICS_OPEN=true` | `rustka.metrics.open` |
| `--init-file FILE` ([what may stand there](init-file.md)) | `RUSTKA_INIT_FILE` | `rustka.init.file` |
| `--http-tls` | `RUSTKA_HTTP_TLS=true` | `rustka.http.tls` |
| | `KAFKA_OPTS=-Djava.security.auth.login.config=FILE` | `java.security.auth.login.config` |
| `--tls-self-signed` | `RUSTKA_TLS_SELF_SIGNED=true` | `rustka.tls.self.signed` |
| | `CLUSTER_ID`, `KAFKA_CLUSTER_ID`, `KAFKA_KRAFT_CLUSTER_ID` | `cluster.id` |
| | `KAFKA_CREATE_TOPICS=orders:3:1,state:1:1:compact` | `create.topics` |
| | `KAFKA_ADVERTISED_HOST_NAME`, `KAFKA_ADVERTISED_HOST`, `KAFKA_ADVERTISED_PORT` | |
| | `KAFKA_CLIENT_USERS` and `KAFKA_CLIENT_PASSWORDS`, lists of the same length | |

A config is either honoured, with the effect told below, or inert: accepted, checked and shown, without effect.
DescribeConfigs tells the same.
";

/// Writes the page, or with `--check` only compares.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let path = root().join("docs/options.md");
    let page = page()?;
    match arguments {
        [] => std::fs::create_dir_all(root().join("docs"))
            .and_then(|()| std::fs::write(&path, page))
            .map_err(|e| format!("{}: {e}", path.display())),
        [flag] if flag == "--check" => match std::fs::read_to_string(&path) {
            Ok(found) if found == page => Ok(()),
            _ => Err("docs/options.md is out of date: run `cargo xtask docs`".into()),
        },
        _ => Err("usage: cargo xtask docs [--check]".into()),
    }
}

fn page() -> Result<String, String> {
    let ours = BrokerConfig::new([], false).map_err(|e| format!("{e:?}"))?;
    let strict = BrokerConfig::new([], true).map_err(|e| format!("{e:?}"))?;
    let mut page = INTRO.to_owned();
    let sections = [
        ("Topics", Scope::Topic),
        ("The broker", Scope::Broker),
        ("Groups", Scope::Group),
        ("Client metrics", Scope::ClientMetrics),
    ];
    for (title, scope) in sections {
        let all = || keys(scope).iter().filter(|key| !key.internal);
        let honoured: Vec<_> = all().filter(|key| is_honoured(key)).collect();
        let inert: Vec<_> = all().filter(|key| !is_honoured(key)).collect();
        let _ = write!(page, "\n## {title}\n");
        if !honoured.is_empty() {
            page.push_str("\n| honoured | default | valid | effect |\n|---|---|---|---|\n");
        }
        for key in honoured {
            let default = match (scope, strict.value(key.name), ours.value(key.name)) {
                (Scope::Broker, Some(kafkas), Some(value)) if kafkas != value => {
                    format!("`{value}`, with `--strict` `{kafkas}`")
                }
                _ => default(key),
            };
            let when = match scope == Scope::Broker && is_dynamic(key.name) {
                true => " Can change while the broker runs.",
                false => "",
            };
            let _ = writeln!(
                page,
                "| `{}` | {default} | {} | {}{when} |",
                key.name,
                valid(key),
                documentation(key)
            );
        }
        if !inert.is_empty() {
            page.push_str("\n| inert | default | valid |\n|---|---|---|\n");
        }
        for key in inert {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} |",
                key.name,
                default(key),
                valid(key)
            );
        }
    }
    Ok(page)
}

fn default(key: &ConfigKey) -> String {
    match &key.default {
        ConfigDefault::Value(value) if value.is_empty() => "empty".to_owned(),
        ConfigDefault::Value(value) => code(value),
        ConfigDefault::Null | ConfigDefault::Required => "none".to_owned(),
    }
}

fn valid(key: &ConfigKey) -> String {
    let kind = key.kind.name().to_lowercase();
    match key.valid {
        "" => kind,
        valid => format!("{kind} {}", code(valid)),
    }
}

/// Code in a cell of a table, where `|` would end it.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_of_options_is_fresh() {
        super::run(&["--check".to_owned()]).unwrap();
    }
}
