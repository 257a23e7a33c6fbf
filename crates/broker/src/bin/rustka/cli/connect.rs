//! Which broker a command asks, and as whom: from flags, the environment, or a client's properties file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustka_client::{Address, Client, ClientOptions, PasswordLogin, PasswordMechanism, Tcp};
use rustka_core::security::scram::Strength;

use super::failure::Failure;
use crate::properties;

/// How long reaching a broker may take.
const REACH: Duration = Duration::from_millis(4_500);
/// How long an answer may take, and how long a call is tried again.
const PATIENCE_MS: (i64, i64) = (30_000, 10_000);
/// Where a broker is looked for if nobody says.
const BOOTSTRAP: &str = "localhost:9092";

/// What all commands take.
#[derive(Args)]
pub struct ConnectArguments {
    /// Where to find the cluster: host:port, several with commas [localhost:9092].
    #[arg(
        short,
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "RUSTKA_BOOTSTRAP_SERVER"
    )]
    bootstrap_server: Option<String>,
    /// Whom to log in as.
    #[arg(
        long,
        global = true,
        value_name = "NAME:PASSWORD",
        env = "RUSTKA_LOGIN",
        hide_env_values = true
    )]
    login: Option<String>,
    /// How the password is proved: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 [SCRAM-SHA-256].
    #[arg(long, global = true, value_name = "NAME")]
    sasl_mechanism: Option<String>,
    /// A properties file as Kafka's clients take it.
    #[arg(long, global = true, value_name = "FILE", env = "RUSTKA_CLIENT_CONFIG")]
    client_config: Option<PathBuf>,
}

impl ConnectArguments {
    /// A client that has reached its cluster.
    pub async fn client(&self) -> Result<Client, Failure> {
        let file = self.properties()?;
        let bootstrap = self.bootstrap_server.as_deref();
        let bootstrap = bootstrap.or(file.get("bootstrap.servers").map(String::as_str));
        let bootstrap = bootstrap.unwrap_or(BOOTSTRAP);
        let addresses =
            Address::list(bootstrap).map_err(|error| Failure::Usage(error.to_string()))?;
        let mut options =
            ClientOptions::new(addresses, Tcp).patience_ms(PATIENCE_MS.0, PATIENCE_MS.1);
        options = options.client_id(file.get("client.id").map_or("rustka", String::as_str));
        if let Some(login) = self.login(&file)? {
            options = options.login(login);
        }
        let client = options.client();
        match tokio::time::timeout(REACH, client.any()).await {
            Ok(Ok(_)) => Ok(client),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Failure::Unreachable(format!(
                "{bootstrap}: nothing answers there within {} ms; is the address right, and no firewall in between?",
                REACH.as_millis()
            ))),
        }
    }

    fn properties(&self) -> Result<BTreeMap<String, String>, Failure> {
        let Some(path) = &self.client_config else {
            return Ok(BTreeMap::new());
        };
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}")))?;
        let read = properties::parse(&text)
            .map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
        let read: BTreeMap<String, String> =
            read.into_iter().map(|one| (one.key, one.value)).collect();
        match read
            .get("security.protocol")
            .map(|name| name.to_uppercase())
            .as_deref()
        {
            None | Some("PLAINTEXT" | "SASL_PLAINTEXT") => Ok(read),
            Some(other) => Err(Failure::Usage(format!(
                "{shown}: security.protocol {other} is not among those that this command speaks: PLAINTEXT, SASL_PLAINTEXT"
            ))),
        }
    }

    fn login(&self, file: &BTreeMap<String, String>) -> Result<Option<PasswordLogin>, Failure> {
        let given = match (&self.login, file.get("sasl.jaas.config")) {
            (Some(login), _) => login.split_once(':').ok_or_else(|| {
                Failure::Usage("--login takes a name and a password: alice:secret".to_owned())
            })?,
            (None, Some(jaas)) => {
                match (option_of(jaas, "username"), option_of(jaas, "password")) {
                    (Some(user), Some(password)) => (user, password),
                    _ => {
                        return Err(Failure::Usage(
                            "sasl.jaas.config names no username=\"...\" and password=\"...\""
                                .to_owned(),
                        ));
                    }
                }
            }
            (None, None) => return Ok(None),
        };
        let name = self.sasl_mechanism.as_ref().or(file.get("sasl.mechanism"));
        let mechanism = match name {
            None => PasswordMechanism::Scram(Strength::Sha256),
            Some(name) => PasswordMechanism::named(name).ok_or_else(|| {
                Failure::Usage(format!(
                    "{name} is no mechanism that this command knows: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"
                ))
            })?,
        };
        Ok(Some(PasswordLogin::new(mechanism, given.0, given.1, nonce)))
    }
}

/// The value of an option of a JAAS module, which stands in quotes or not.
fn option_of<'a>(jaas: &'a str, name: &str) -> Option<&'a str> {
    let at = jaas.find(&format!("{name}="))? + name.len() + 1;
    let rest = &jaas[at..];
    match rest.chars().next()? {
        quote @ ('"' | '\'') => rest[1..].split(quote).next(),
        _ => rest.split([' ', ';']).next(),
    }
}

/// Letters and digits that nobody can guess.
fn nonce() -> String {
    let mut bytes = [0; 18];
    match getrandom::fill(&mut bytes) {
        Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        // A login that can be guessed is no login: the broker refuses an empty nonce.
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_password_are_read_from_what_java_clients_are_given() {
        let jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"alice\" password='se cret';";
        assert_eq!(option_of(jaas, "username"), Some("alice"));
        assert_eq!(option_of(jaas, "password"), Some("se cret"));
        assert_eq!(
            option_of("m required username=bob;", "username"),
            Some("bob")
        );
        assert_eq!(option_of("m required;", "username"), None);
    }
}
