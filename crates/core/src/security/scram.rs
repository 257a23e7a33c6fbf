//! SCRAM (RFC 5802, 7677), the server's half: what is kept of a password, and the two messages of a login.

use super::sasl::{Entrant, Failure, Mechanism, Secrets, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// The fewest rounds that a password may be hashed with, in any strength.
pub const ITERATIONS_MIN: i32 = 4096;
/// The most: a client has to do as many at each login.
pub const ITERATIONS_MAX: i32 = 16_384;

/// Which hash is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl Strength {
    /// Both.
    pub const ALL: [Strength; 2] = [Strength::Sha256, Strength::Sha512];

    /// Kafka's number of it.
    pub fn code(self) -> i8 {
        match self {
            Strength::Sha256 => 1,
            Strength::Sha512 => 2,
        }
    }

    /// The strength with this number.
    pub fn from_code(code: i8) -> Option<Strength> {
        Strength::ALL
            .into_iter()
            .find(|strength| strength.code() == code)
    }

    /// The name of the mechanism.
    pub fn mechanism(self) -> &'static str {
        match self {
            Strength::Sha256 => "SCRAM-SHA-256",
            Strength::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Strength::Sha256 => Sha256::digest(bytes).to_vec(),
            Strength::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Strength::Sha256 => {
                let mut mac =
                    Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }
            Strength::Sha512 => {
                let mut mac =
                    Hmac::<Sha512>::new_from_slice(key).expect("a key may have any length");
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }
        }
    }

    /// The password, salted and hashed so many times: the slow part, which clients do.
    pub fn salted(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        let password = password.as_bytes();
        match self {
            Strength::Sha256 => {
                pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec()
            }
            Strength::Sha512 => {
                pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations).to_vec()
            }
        }
    }
}

/// What is kept of a password: enough to check a proof of it, too little to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Mixed into the password.
    pub salt: Vec<u8>,
    /// Proofs are checked with it.
    pub stored_key: Vec<u8>,
    /// The server proves with it that it knows the user.
    pub server_key: Vec<u8>,
    /// How often the password was hashed.
    pub iterations: i32,
}

impl std::fmt::Debug for Credential {
    /// Without the keys: this must be fit for a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// From a password that was salted and hashed already, as AlterUserScramCredentials sends it.
    pub fn of_salted(
        strength: Strength,
        salted: &[u8],
        salt: &[u8],
        iterations: i32,
    ) -> Credential {
        let client_key = strength.hmac(salted, b"Client Key");
        Credential {
            salt: salt.to_vec(),
            stored_key: strength.hash(&client_key),
            server_key: strength.hmac(salted, b"Server Key"),
            iterations,
        }
    }

    /// From a password. Takes milliseconds.
    pub fn of_password(
        strength: Strength,
        password: &str,
        salt: &[u8],
        iterations: i32,
    ) -> Credential {
        let rounds = u32::try_from(iterations).unwrap_or(1).max(1);
        let salted = strength.salted(password, salt, rounds);
        Credential::of_salted(strength, &salted, salt, iterations)
    }
}

/// A login by SCRAM under way.
pub struct ScramExchange {
    strength: Strength,
    nonce: String,
    begun: Option<Begun>,
}

/// What the first message has settled.
struct Begun {
    entrant: Entrant,
    credential: Credential,
    nonce: String,
    /// `client-first-message-bare,server-first-message`.
    messages: String,
}

impl ScramExchange {
    /// Begins one. `nonce` is printable, without a comma, and never used before.
    pub fn new(strength: Strength, nonce: &str) -> ScramExchange {
        ScramExchange {
            strength,
            nonce: nonce.to_owned(),
            begun: None,
        }
    }

    fn failure(&self) -> Failure {
        Failure::of(Mechanism::Scram(self.strength))
    }

    /// Takes the client's first or last message.
    pub fn step(&mut self, message: &[u8], secrets: &dyn Secrets) -> Result<Step, Failure> {
        let message = std::str::from_utf8(message).map_err(|_| self.failure())?;
        match self.begun.take() {
            None => self.first(message, secrets),
            Some(begun) => self.last(message, begun),
        }
    }

    fn first(&mut self, message: &str, secrets: &dyn Secrets) -> Result<Step, Failure> {
        let first = First::parse(message).ok_or_else(|| self.failure())?;
        // As in Kafka a user who is not there is turned away here, not at the proof.
        let known = match first.by_token {
            true => secrets.token(self.strength, &first.user),
            false => secrets
                .scram(self.strength, &first.user)
                .map(|credential| (credential, Entrant::user(&first.user))),
        };
        let (credential, entrant) = known.ok_or_else(|| self.failure())?;
        if !first.identity.is_empty() && first.identity != first.user {
            return Err(Failure::other_identity());
        }
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let salt = STANDARD.encode(&credential.salt);
        let answer = format!("r={nonce},s={salt},i={}", credential.iterations);
        self.begun = Some(Begun {
            messages: format!("{},{answer}", first.bare),
            entrant,
            credential,
            nonce,
        });
        Ok(Step::Continue(answer.into_bytes()))
    }

    fn last(&self, message: &str, begun: Begun) -> Result<Step, Failure> {
        let last = Last::parse(message).ok_or_else(|| self.failure())?;
        let messages = format!("{},{}", begun.messages, last.without_proof);
        let signature = self
            .strength
            .hmac(&begun.credential.stored_key, messages.as_bytes());
        let client_key: Vec<u8> = signature
            .iter()
            .zip(&last.proof)
            .map(|(a, b)| a ^ b)
            .collect();
        let proven = self.strength.hash(&client_key);
        let is_proven = bool::from(proven.ct_eq(&begun.credential.stored_key))
            && last.proof.len() == signature.len();
        if last.nonce != begun.nonce || !is_proven {
            return Err(self.failure());
        }
        let own = self
            .strength
            .hmac(&begun.credential.server_key, messages.as_bytes());
        let answer = format!("v={}", STANDARD.encode(own));
        Ok(Step::Done(answer.into_bytes(), begun.entrant))
    }
}

/// `n,[a=identity],[m=reserved,]n=user,r=nonce[,extension=value]…`
struct First {
    identity: String,
    user: String,
    nonce: String,
    /// `tokenauth=true` (KIP-48): the name is the id of a delegation token.
    by_token: bool,
    bare: String,
}

impl First {
    /// Channel binding (`y` and `p=`) is not understood, as in Kafka, whose TLS ends elsewhere.
    fn parse(message: &str) -> Option<First> {
        let rest = message.strip_prefix("n,")?;
        let (identity, bare) = rest.split_once(',')?;
        let identity = match identity {
            "" => String::new(),
            identity => decode_name(identity.strip_prefix("a=")?)?,
        };
        let mut parts = bare.split(',').peekable();
        // Reserved for later: skipped, as in Kafka.
        parts.next_if(|part| part.starts_with("m="));
        let user = decode_name(parts.next()?.strip_prefix("n=")?)?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        let is_printable = nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        let mut by_token = false;
        let extensions_are_well_formed = parts.all(|part| {
            let (name, value) = part.split_once('=').unwrap_or_default();
            if name == "tokenauth" {
                by_token = value.eq_ignore_ascii_case("true");
            }
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphabetic())
                && !value.is_empty()
        });
        (!nonce.is_empty() && is_printable && extensions_are_well_formed).then(|| First {
            identity,
            user,
            nonce: nonce.to_owned(),
            by_token,
            bare: bare.to_owned(),
        })
    }
}

/// `=2C` stands for a comma and `=3D` for an equals sign; any other `=` is a mistake.
fn decode_name(name: &str) -> Option<String> {
    let mut decoded = String::with_capacity(name.len());
    let mut parts = name.split('=');
    decoded.push_str(parts.next()?);
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        decoded.push(character);
        decoded.push_str(rest);
    }
    (!decoded.is_empty()).then_some(decoded)
}

/// `c=binding,r=nonce[,extension=value]…,p=proof`
struct Last<'a> {
    nonce: &'a str,
    proof: Vec<u8>,
    without_proof: &'a str,
}

impl<'a> Last<'a> {
    fn parse(message: &'a str) -> Option<Last<'a>> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut parts = without_proof.split(',');
        // There is no binding to be checked: the proof covers whatever this says.
        STANDARD.decode(parts.next()?.strip_prefix("c=")?).ok()?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        let proof = STANDARD.decode(proof).ok()?;
        Some(Last {
            nonce,
            proof,
            without_proof,
        })
    }
}

/// The client's last message: the proof that it knows the password. `first` is its first message without the header
/// `n,,`, and `server` the answer to that; none if the latter makes no sense.
pub fn proof(strength: Strength, password: &str, first: &str, server: &str) -> Option<Vec<u8>> {
    let mut parts = server.split(',');
    let nonce = parts.next()?.strip_prefix("r=")?;
    let salt = STANDARD.decode(parts.next()?.strip_prefix("s=")?).ok()?;
    let iterations = parts.next()?.strip_prefix("i=")?.parse().ok()?;
    let salted = strength.salted(password, &salt, iterations);
    let client_key = strength.hmac(&salted, b"Client Key");
    let last = format!("c=biws,r={nonce}");
    let messages = format!("{first},{server},{last}");
    let signature = strength.hmac(&strength.hash(&client_key), messages.as_bytes());
    let proof: Vec<u8> = client_key
        .iter()
        .zip(&signature)
        .map(|(a, b)| a ^ b)
        .collect();
    Some(format!("{last},p={}", STANDARD.encode(proof)).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::bearer::Unfit;
    use super::*;

    struct One(&'static str, Credential);

    impl Secrets for One {
        fn is_password(&self, _: &str, _: &str) -> bool {
            false
        }

        fn scram(&self, _: Strength, user: &str) -> Option<Credential> {
            (user == self.0).then(|| self.1.clone())
        }

        fn token(&self, _: Strength, id: &str) -> Option<(Credential, Entrant)> {
            let entrant = Entrant {
                by_token: true,
                ..Entrant::user("owner")
            };
            (id == "token").then(|| (self.1.clone(), entrant))
        }

        fn bearer(&self, _: &str) -> Result<Entrant, Unfit> {
            Err(Unfit("there are no tokens here".to_owned()))
        }
    }

    fn text(step: Result<Step, Failure>) -> String {
        match step.expect("no failure") {
            Step::Continue(bytes) | Step::Done(bytes, _) => String::from_utf8(bytes).expect("text"),
        }
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_rfc_7677_logs_in() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let credential = Credential::of_password(Strength::Sha256, "pencil", &salt, 4096);
        let users = One("user", credential);
        let mut exchange = ScramExchange::new(Strength::Sha256, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let answer = exchange.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", &users);
        assert_eq!(
            text(answer),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let own = proof(
            Strength::Sha256,
            "pencil",
            "n=user,r=rOprNGfwEbeRWgbNEkqO",
            server,
        );
        assert_eq!(own.as_deref(), Some(last.as_bytes()));
        let answer = exchange.step(last.as_bytes(), &users);
        let Ok(Step::Done(bytes, user)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(bytes, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(user, Entrant::user("user"));
    }

    fn login(first: &str, password: &str) -> Result<Step, Failure> {
        let strength = Strength::Sha512;
        let credential = Credential::of_password(strength, "secret", b"salt", 4096);
        let users = One("a,b=c", credential);
        let mut exchange = ScramExchange::new(strength, "theirs");
        let answer = text(Ok(exchange.step(first.as_bytes(), &users)?));
        let (_, bare) = first.split_once(",n=").expect("a name");
        let last = proof(strength, password, &format!("n={bare}"), &answer);
        exchange.step(&last.expect("a server's message"), &users)
    }

    #[test]
    fn names_may_hold_commas_and_equals_signs_and_extensions_are_skipped() {
        for first in [
            "n,,n=a=2Cb=3Dc,r=ours",
            "n,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=ours",
            "n,,n=a=2Cb=3Dc,r=ours,x=y",
            "n,,n=a=2Cb=3Dc,r=ours,tokenauth=no",
        ] {
            let step = login(first, "secret").expect(first);
            assert!(matches!(step, Step::Done(_, user) if user == Entrant::user("a,b=c")));
        }
    }

    #[test]
    fn with_a_token_its_owner_comes_in_and_only_if_it_is_said_to_be_one() {
        let step = login("n,,n=token,r=ours,tokenauth=True", "secret").expect("comes in");
        let Step::Done(_, entrant) = step else {
            panic!("{step:?}")
        };
        assert_eq!(
            (&*entrant.principal, entrant.by_token),
            ("User:owner", true)
        );
        assert!(login("n,,n=token,r=ours", "secret").is_err());
        assert!(login("n,,n=token,r=ours,tokenauth=true", "wrong").is_err());
        assert!(login("n,,n=a=2Cb=3Dc,r=ours,tokenauth=true", "secret").is_err());
    }

    #[test]
    fn every_mistake_is_the_same_failure_but_a_wish_to_be_somebody_else() {
        let same = Failure::of(Mechanism::Scram(Strength::Sha512));
        assert_eq!(login("n,,n=a=2Cb=3Dc,r=ours", "wrong"), Err(same.clone()));
        for first in [
            "n,,n=nobody,r=ours",
            "y,,n=a=2Cb=3Dc,r=ours",
            "p=tls-unique,,n=a=2Cb=3Dc,r=ours",
            "n,,n=a=2cb,r=ours",
            "n,,n=,r=ours",
            "n,,n=a=2Cb=3Dc,r=",
            "n,,n=a=2Cb=3Dc,r=ou rs",
            "n,,n=a=2Cb=3Dc,r=ours,=x",
        ] {
            assert_eq!(login(first, "secret"), Err(same.clone()), "{first}");
        }
        let other = login("n,a=bob,n=a=2Cb=3Dc,r=ours", "secret");
        assert_eq!(other, Err(Failure::other_identity()));
        let mut exchange = ScramExchange::new(Strength::Sha512, "theirs");
        let credential = Credential::of_password(Strength::Sha512, "secret", b"salt", 4096);
        let users = One("u", credential);
        assert_eq!(exchange.step(&[0xff, 0xfe], &users), Err(same.clone()));
        exchange.step(b"n,,n=u,r=ours", &users).expect("a user");
        let another_nonce = exchange.step(b"c=biws,r=other,p=AAAA", &users);
        assert_eq!(another_nonce, Err(same));
    }

    #[test]
    fn no_key_is_shown_to_whoever_prints_a_credential() {
        let credential = Credential::of_password(Strength::Sha256, "secret", b"salt", 4096);
        assert_eq!(
            format!("{credential:?}"),
            "Credential { iterations: 4096, .. }"
        );
    }
}
