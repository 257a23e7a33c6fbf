//! `rustka user`: who may log in by SCRAM.

use clap::Subcommand;
use rustka_client::{Client, NewPassword, ScramChange};
use rustka_core::security::scram::Strength;

use super::failure::Failure;
use super::lines::Lines;
use super::output::{Output, Table};

/// How often a password is hashed, as Kafka's tools do it.
const ITERATIONS: u32 = 4096;
const BOTH: [Strength; 2] = [Strength::Sha256, Strength::Sha512];

/// What to do with users.
#[derive(Subcommand)]
pub enum UserCommand {
    /// Who may log in, and how.
    List,
    /// Give a user a password, for SCRAM-SHA-256 and SCRAM-SHA-512. Without --password it is the first line of the input.
    Set {
        /// The user.
        user: String,
        /// The password; others on this machine may see what a command is given.
        #[arg(long, env = "RUSTKA_PASSWORD", hide_env_values = true)]
        password: Option<String>,
    },
    /// Let a user log in no longer.
    Delete {
        /// The user.
        user: String,
    },
}

/// Does what is to be done with users.
pub async fn run(
    client: &Client,
    command: UserCommand,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        UserCommand::List => {
            let mut table = Table::new(&["user", "mechanism", "iterations"]);
            for (user, known) in client.describe_users(None).await? {
                for (strength, iterations) in known {
                    table.push(vec![
                        user.as_str().into(),
                        strength.mechanism().into(),
                        iterations.into(),
                    ]);
                }
            }
            output.table(table)
        }
        UserCommand::Set { user, password } => {
            let password = match password {
                Some(password) => password,
                None => first_line().await?,
            };
            let mut salts = [[0; 24]; 2];
            for salt in &mut salts {
                getrandom::fill(salt)
                    .map_err(|error| Failure::Refused(format!("no random numbers: {error}")))?;
            }
            // A broker takes one mechanism of a user in a request.
            for (strength, salt) in BOTH.into_iter().zip(&salts) {
                let password = NewPassword {
                    password: &password,
                    salt,
                    iterations: ITERATIONS,
                };
                let change = ScramChange {
                    strength,
                    password: Some(password),
                };
                client.alter_user(&user, &[change]).await?;
            }
            output.done(&format!("{user} can log in"))
        }
        UserCommand::Delete { user } => {
            let known = client.describe_users(Some(&[&user])).await?;
            let known = known.into_iter().flat_map(|(_, known)| known);
            let strengths: Vec<Strength> = known.map(|(strength, _)| strength).collect();
            if strengths.is_empty() {
                return Err(Failure::Refused(format!("there is no user {user}")));
            }
            for strength in strengths {
                let change = ScramChange {
                    strength,
                    password: None,
                };
                client.alter_user(&user, &[change]).await?;
            }
            output.done(&format!("{user} deleted"))
        }
    }
}

async fn first_line() -> Result<String, Failure> {
    let mut lines = Lines::of(None).await.map_err(Failure::Refused)?;
    let some = lines.next().await.map_err(Failure::Refused)?;
    let first = some.and_then(|lines| lines.into_iter().next());
    let first = first.filter(|line| !line.is_empty());
    let first = first.ok_or_else(|| {
        Failure::Usage("give a password by --password or as a line of input".to_owned())
    })?;
    String::from_utf8(first).map_err(|_| Failure::Usage("a password is text".to_owned()))
}
