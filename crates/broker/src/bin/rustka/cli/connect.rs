//! Which broker a command asks, and as whom: from flags, the environment, or a client's properties file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustka_client::{Address, Client, ClientOptions, PasswordLogin, PasswordMechanism, Tcp};
use rustka_core::security::scram::Strength;

use super::failure::Failure;
use super::tls::Tls;
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
    /// Connect by TLS.
    #[arg(long, global = true)]
    tls: bool,
    /// Connect by TLS, and trust these authorities rather than the system's: a PEM file.
    #[arg(long, global = true, value_name = "FILE", env = "RUSTKA_TLS_CA")]
    tls_ca: Option<String>,
    /// Show this certificate: a PEM file with its key.
    #[arg(long, global = true, value_name = "FILE", env = "RUSTKA_TLS_CERT")]
    tls_cert: Option<String>,
    /// A properties file as Kafka's clients take it.
    #[arg(long, global = true, value_name = "FILE", env = "RUSTKA_CLIENT_CONFIG")]
    client_config: Option<PathBuf>,
}

impl ConnectArguments {
    /// A client that has reached its cluster.
    pub async fn client(&self) -> Result<Client, Failure> {
        let mut reach = Reach::of(self.client_config.as_deref())?;
        let flags = [
            ("bootstrap.servers", &self.bootstrap_server),
            ("sasl.mechanism", &self.sasl_mechanism),
            ("ssl.truststore.location", &self.tls_ca),
            ("ssl.keystore.location", &self.tls_cert),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                reach.properties.insert(key.to_owned(), value.clone());
            }
        }
        if self.tls || self.tls_ca.is_some() || self.tls_cert.is_some() {
            reach.set("security.protocol", "SSL");
        }
        if let Some(login) = &self.login {
            let (user, password) = login.split_once(':').ok_or_else(|| {
                Failure::Usage("--login takes a name and a password: alice:secret".to_owned())
            })?;
            reach.login = Some((user.to_owned(), password.to_owned()));
        }
        reach.client().await
    }
}

/// How a cluster is reached: what Kafka's clients have in their properties.
pub struct Reach {
    properties: BTreeMap<String, String>,
    login: Option<(String, String)>,
    /// What messages call the source of the properties.
    named: String,
}

impl Reach {
    /// As a file of properties says, if one is named.
    fn of(file: Option<&Path>) -> Result<Reach, Failure> {
        let Some(path) = file else {
            return Ok(Reach {
                properties: BTreeMap::new(),
                login: None,
                named: "the arguments".to_owned(),
            });
        };
        let named = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("cannot read {named}: {error}")))?;
        let read = properties::parse(&text)
            .map_err(|error| Failure::Usage(format!("{named}: {error}")))?;
        let properties = read.into_iter().map(|one| (one.key, one.value)).collect();
        let login = None;
        Ok(Reach {
            properties,
            login,
            named,
        })
    }

    /// At these addresses, and else as a file of properties says.
    pub fn at(bootstrap: &str, file: Option<&Path>) -> Result<Reach, Failure> {
        let mut reach = Reach::of(file)?;
        reach
            .properties
            .insert("bootstrap.servers".to_owned(), bootstrap.to_owned());
        Ok(reach)
    }

    /// Puts a property in place of the file's.
    pub fn set(&mut self, key: &str, value: &str) {
        self.properties.insert(key.to_owned(), value.to_owned());
    }

    /// A property, wherever it comes from.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str)
    }

    /// A client that has reached its cluster.
    pub async fn client(&self) -> Result<Client, Failure> {
        let bootstrap = self.property("bootstrap.servers").unwrap_or(BOOTSTRAP);
        let addresses =
            Address::list(bootstrap).map_err(|error| Failure::Usage(error.to_string()))?;
        let options = match self.is_tls()? {
            false => ClientOptions::new(addresses, Tcp),
            true => {
                let tls = Tls::of(|key| self.property(key));
                let tls = tls.map_err(|why| Failure::Usage(format!("{}: {why}", self.named)))?;
                ClientOptions::new(addresses, tls)
            }
        };
        let mut options = options.patience_ms(PATIENCE_MS.0, PATIENCE_MS.1);
        options = options.client_id(self.property("client.id").unwrap_or("rustka"));
        if let Some(login) = self.login()? {
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

    fn is_tls(&self) -> Result<bool, Failure> {
        let protocol = self.property("security.protocol").map(str::to_uppercase);
        match protocol.as_deref() {
            None | Some("PLAINTEXT" | "SASL_PLAINTEXT") => Ok(false),
            Some("SSL" | "SASL_SSL") => Ok(true),
            Some(other) => Err(Failure::Usage(format!(
                "{}: security.protocol {other} is none of PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL",
                self.named
            ))),
        }
    }

    fn login(&self) -> Result<Option<PasswordLogin>, Failure> {
        let given = match (&self.login, self.property("sasl.jaas.config")) {
            (Some((user, password)), _) => (user.as_str(), password.as_str()),
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
        let mechanism = match self.property("sasl.mechanism") {
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
