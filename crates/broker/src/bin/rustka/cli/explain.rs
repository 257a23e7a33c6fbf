//! `rustka config explain`: what a broker would go by if it were started with these flags, in this environment.

use super::failure::Failure;
use super::output::{Output, Table};
use crate::flags::{self, Parsed};
use crate::settings::own::HIDDEN;
use crate::settings::{Holding, Meaning, Resolved, Settings};
use clap::Args;
use rustka_core::config::{BrokerConfig, Scope, is_honoured, keys};
use std::collections::BTreeSet;
use std::ffi::OsString;

/// How the broker would be started.
#[derive(Args)]
pub struct ExplainArguments {
    /// Flags and the properties file of the broker, as `rustka --help` lists them.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FLAGS"
    )]
    flags: Vec<OsString>,
}

/// A line of the table.
struct Row {
    key: String,
    value: Option<String>,
    source: String,
    meaning: Meaning,
}

/// Prints every value that holds. Where something is wrong the exit code says so, and what can be told is told.
pub fn run(arguments: ExplainArguments, output: &mut Output) -> Result<(), Failure> {
    let flags = match flags::parse(arguments.flags.into_iter()) {
        Parsed::Run(flags) => flags,
        Parsed::Print(text) => return output.line(&text),
    };
    let resolved = Settings::collect(flags, Vec::new()).resolve();
    output.table(table(&resolved))?;
    match resolved.mistakes.is_empty() {
        true => Ok(()),
        false => Err(Failure::Usage(resolved.mistakes.join("\nrustka: "))),
    }
}

fn table(resolved: &Resolved) -> Table {
    let mut rows: Vec<Row> = resolved.holding.iter().map(given).collect();
    let known: BTreeSet<String> = rows.iter().map(|row| row.key.clone()).collect();
    if let Ok((listeners, advertised)) = resolved.options.listening() {
        for (key, value) in [
            ("listeners", listeners),
            ("advertised.listeners", advertised),
        ] {
            if known.contains(key) {
                continue;
            }
            rows.push(Row {
                key: key.to_owned(),
                value: (!value.is_empty()).then_some(value),
                source: "from what else is set".to_owned(),
                meaning: Meaning::Effect,
            });
        }
    }
    if let Ok(config) = resolved.options.broker_config() {
        let told: BTreeSet<String> = rows.iter().map(|row| row.key.clone()).collect();
        rows.extend(defaults(&config).filter(|row| !told.contains(&row.key)));
    }
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let mut table = Table::new(&["key", "value", "source", "effect"]);
    for row in rows {
        let effect = match row.meaning {
            Meaning::Effect => "yes",
            Meaning::Inert => "none here",
            Meaning::Unknown => "none, nobody knows it",
        };
        table.push(vec![
            row.key.into(),
            row.value.into(),
            row.source.into(),
            effect.into(),
        ]);
    }
    table
}

fn given(holding: &Holding) -> Row {
    Row {
        key: holding.setting.key.clone(),
        value: Some(holding.setting.shown()),
        source: holding.setting.place.to_string(),
        meaning: holding.meaning,
    }
}

fn defaults(config: &BrokerConfig) -> impl Iterator<Item = Row> {
    let shown = keys(Scope::Broker).iter().filter(|key| !key.internal);
    shown.map(|key| Row {
        key: key.name.to_owned(),
        value: config
            .value(key.name)
            .map(|value| match key.is_sensitive() {
                true => HIDDEN.to_owned(),
                false => value.to_owned(),
            }),
        source: match config.is_strict() {
            true => "default of Kafka",
            false => "default",
        }
        .to_owned(),
        meaning: match is_honoured(key) {
            true => Meaning::Effect,
            false => Meaning::Inert,
        },
    })
}
