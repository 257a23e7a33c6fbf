//! The commands that ask a broker, of ours or any other: `rustka topic list`, `rustka consume orders`.

mod acl;
pub mod acl_words;
mod config;
pub mod connect;
mod consume;
mod explain;
pub mod failure;
mod files;
mod group;
mod health;
pub mod lines;
mod log;
pub mod output;
mod produce;
mod quota;
mod tls;
mod topic;
mod transaction;
mod user;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use connect::ConnectArguments;
use failure::Failure;
use output::{Format, Output};

/// The words that stand first where a command is meant. Everything else is for the broker itself.
const COMMANDS: &[&str] = &[
    "topic",
    "group",
    "transaction",
    "config",
    "acl",
    "user",
    "quota",
    "log",
    "produce",
    "consume",
    "health",
    "completions",
    "manual",
    "version",
    "help",
];

/// Whether these arguments name a command, rather than how a broker is to run.
pub fn is_command(first: Option<&OsString>) -> bool {
    first.is_some_and(|word| COMMANDS.iter().any(|command| word == *command))
}

/// The variables that commands read.
#[cfg(test)]
pub fn variables() -> Vec<String> {
    let mut variables = Vec::new();
    let mut commands = vec![Arguments::command()];
    while let Some(command) = commands.pop() {
        let named = command.get_arguments().filter_map(clap::Arg::get_env);
        variables.extend(named.map(|name| name.to_string_lossy().into_owned()));
        commands.extend(command.get_subcommands().cloned());
    }
    variables
}

/// A Kafka broker, and the commands to ask one. Without a command it serves: see `rustka --help`.
#[derive(Parser)]
#[command(
    name = "rustka",
    disable_version_flag = true,
    subcommand_required = true
)]
struct Arguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Topics: list, describe, create, grow, empty, delete.
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Groups: list, describe, reset offsets, delete.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Transactions: list, describe, abort.
    #[command(subcommand)]
    Transaction(transaction::TransactionCommand),
    /// Configs of topics, brokers and groups: describe, set, unset.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// ACLs: who may do what.
    #[command(subcommand)]
    Acl(acl::AclCommand),
    /// Users who log in by SCRAM.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Quotas of users, clients and addresses.
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
    /// How much each partition takes, and where; offline: what is in a data directory.
    Log(log::LogArguments),
    /// Write records: each line of the input is one.
    Produce(produce::ProduceArguments),
    /// Read records.
    Consume(consume::ConsumeArguments),
    /// Whether a broker answers; for health checks.
    Health,
    /// What a shell needs in order to complete these commands.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// The manual page, for man: `rustka manual | man -l -`.
    Manual,
    /// The version of this program.
    Version,
}

/// Does what the arguments ask for. 0: done; 1: the broker refused, or only a part could be done; 2: a mistake in the
/// arguments; 69: no broker can be reached.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where nobody reads what is said, there is nobody to tell of that either.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(perform(arguments));
            // A thread that waits for input that never comes is not waited for.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::Refused(format!("cannot start: {error}"))),
    };
    match outcome {
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("rustka: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn perform(arguments: Arguments) -> Result<(), Failure> {
    let mut output = Output::new(arguments.format);
    match arguments.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "rustka", &mut script);
            return output.bytes(&script);
        }
        Command::Manual => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
            return output.bytes(&page);
        }
        Command::Version => return output.line(env!("CARGO_PKG_VERSION")),
        Command::Config(config::ConfigCommand::Explain(arguments)) => {
            return explain::run(arguments, &mut output);
        }
        Command::Log(log::LogArguments {
            command: Some(command),
            ..
        }) => return files::run(command, &mut output),
        _ => {}
    }
    let client = arguments.connect.client().await?;
    match arguments.command {
        Command::Topic(command) => topic::run(&client, command, &mut output).await,
        Command::Group(command) => group::run(&client, command, &mut output).await,
        Command::Transaction(command) => transaction::run(&client, command, &mut output).await,
        Command::Config(command) => config::run(&client, command, &mut output).await,
        Command::Acl(command) => acl::run(&client, command, &mut output).await,
        Command::User(command) => user::run(&client, command, &mut output).await,
        Command::Quota(command) => quota::run(&client, command, &mut output).await,
        Command::Log(arguments) => log::run(&client, arguments, &mut output).await,
        Command::Produce(arguments) => produce::run(&client, arguments, &mut output).await,
        Command::Consume(arguments) => consume::run(&client, arguments, &mut output).await,
        Command::Health => health::run(&client, &mut output).await,
        Command::Completions { .. } | Command::Manual | Command::Version => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_known_by_its_first_word() {
        Arguments::command().debug_assert();
        let known: Vec<String> = Arguments::command()
            .get_subcommands()
            .map(|command| command.get_name().to_owned())
            .chain(["help".to_owned()])
            .collect();
        assert_eq!(known, COMMANDS);
        assert!(!is_command(Some(&"server.properties".into())));
        assert!(!is_command(None));
    }
}
