//! Users, ACLs and quotas: what is written and told, and that Kafka's own records say the same.

use std::sync::Arc;

use super::journal::at_level;
use super::kafka::{compare_bytes, records_of};
use super::world::*;
use crate::cluster::Cluster;
use crate::cluster::command::*;
use crate::cluster::records::Record;
use crate::error::{ErrorCode, Refusal};
use crate::machine::Machine;
use crate::security::acl::{ANY, Acl, RawAcl};
use crate::security::facts::{Fact, Facts};
use crate::security::filter::AclFilter;
use crate::security::quota::alter::QuotaWish;
use crate::security::scram::Strength;
use crate::security::tokens::{CreateToken, Prolonging, TokenLives};
use crate::security::users::{Upsertion, Wish};

/// What Kafka 4.4.0 wrote while its tools changed users, ACLs, quotas and delegation tokens.
const LOG: &[u8] = include_bytes!("kafka-4.4.0-security.log");

impl World {
    /// Keeps a credential in SHA-256, or forgets it.
    fn user(&mut self, name: &str, iterations: Option<i32>) -> Result<(), ErrorCode> {
        let wish = Wish {
            user: name.into(),
            mechanism: 1,
            upsertion: iterations.map(|iterations| Upsertion {
                iterations,
                salt: (*b"salt").into(),
                salted_password: (*b"salted").into(),
            }),
        };
        let Reply::AlterUsers(mut outcomes) = self.ask(Command::AlterUsers(vec![wish])) else {
            panic!("an answer to AlterUsers")
        };
        outcomes.remove(0).1.map_err(|refusal| refusal.code)
    }

    fn create_acls(&mut self, names: &[&str]) -> Vec<Result<(), ErrorCode>> {
        let creations = names.iter().map(|name| CreateAcl {
            id: self.new_id(),
            acl: acl(name),
        });
        let creations = creations.collect();
        let Reply::CreateAcls(results) = self.ask(Command::CreateAcls(creations)) else {
            panic!("an answer to CreateAcls")
        };
        let results = results.into_iter();
        results.map(|r| r.map_err(|refusal| refusal.code)).collect()
    }

    fn quota(&mut self, user: &str, value: Option<f64>) -> Result<(), ErrorCode> {
        let wish = QuotaWish {
            entity: [("user".into(), Some(user.into()))].into(),
            changes: vec![("producer_byte_rate".into(), value)],
        };
        let command = Command::AlterQuotas {
            wishes: vec![wish],
            validate_only: false,
        };
        let Reply::AlterQuotas(mut outcomes) = self.ask(command) else {
            panic!("an answer to AlterQuotas")
        };
        outcomes.remove(0).1.map_err(|refusal| refusal.code)
    }

    fn token(&mut self, id: &str) -> Result<(), ErrorCode> {
        let asked = CreateToken {
            id: id.into(),
            owner: "User:alice".into(),
            requester: "User:alice".into(),
            renewers: Vec::new(),
            lifetime_ms: 0,
            lives: LIVES,
            now_ms: NOW.wall_ms,
        };
        match self.ask(Command::CreateToken(asked)) {
            Reply::CreateToken(made) => made.map(drop),
            other => panic!("{other:?}"),
        }
    }

    fn prolong(&mut self, id: &str, wish: Prolonging) -> Result<i64, ErrorCode> {
        let command = Command::ProlongToken {
            id: id.into(),
            wish,
            principal: "User:alice".into(),
            lives: LIVES,
            now_ms: NOW.wall_ms + 1,
        };
        match self.ask(command) {
            Reply::ProlongToken(expires_ms) => expires_ms.map(|ms| ms - NOW.wall_ms),
            other => panic!("{other:?}"),
        }
    }

    fn delete_acls(&mut self, filters: &[AclFilter]) -> Result<Vec<Vec<Arc<Acl>>>, ErrorCode> {
        match self.ask(Command::DeleteAcls(filters.to_vec())) {
            Reply::DeleteAcls(matching) => matching.map_err(|refusal| refusal.code),
            other => panic!("{other:?}"),
        }
    }
}

const LIVES: TokenLives = TokenLives {
    renewal_ms: 100,
    whole_ms: 700,
};

/// Alice may read the topic.
fn acl(name: &str) -> Result<Acl, Refusal> {
    let raw = RawAcl {
        kind: 2,
        pattern: 3,
        name,
        principal: "User:alice",
        host: "*",
        operation: 3,
        permission: 3,
    };
    raw.check()
}

fn all_named(name: Option<&str>) -> AclFilter {
    AclFilter {
        kind: ANY,
        pattern: ANY,
        name: name.map(Box::from),
        principal: None,
        host: None,
        operation: ANY,
        permission: ANY,
    }
}

#[test]
fn kafkas_records_of_users_and_rights_are_written_with_its_own_bytes() {
    assert_eq!(compare_bytes(LOG), 28);
}

#[test]
fn a_log_of_kafkas_users_and_acls_is_read() {
    let w = World::new().replayed(records_of(LOG));
    let cluster: &Cluster = &w.cluster;
    let facts = cluster.facts();
    let users: Vec<_> = facts
        .users
        .all()
        .map(|(user, of)| (user, of.len()))
        .collect();
    assert_eq!(users, [("alice", 1), ("bob", 1)], "one of alice's is gone");
    let alice = facts.users.credential(Strength::Sha256, "alice").unwrap();
    assert_eq!((alice.iterations, alice.salt.len()), (4096, 26));
    let acls: Vec<_> = facts.acls.all().collect();
    let said: Vec<_> = acls
        .iter()
        .map(|acl| (&*acl.principal, &*acl.name, &*acl.host, acl.operation))
        .collect();
    let expected = [
        ("User:alice", "t", "*", 3),
        ("User:alice", "t", "*", 8),
        ("User:bob", "g-", "10.0.0.1", 2),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_log_of_kafkas_quotas_is_read() {
    let w = World::new().replayed(records_of(LOG));
    let quotas = &w.cluster.facts().quotas;
    let said = quotas.all().flat_map(|(entity, values)| {
        let parts = entity.parts();
        let parts: Vec<_> = parts
            .map(|(part, name)| (part.name(), name.get()))
            .collect();
        let values = values.iter();
        values.map(move |(key, value)| (parts.clone(), key.name(), *value))
    });
    let said: Vec<_> = said.collect();
    let both = vec![("client-id", Some("c")), ("user", Some("u"))];
    let expected = [
        (
            vec![("client-id", Some("c"))],
            "controller_mutation_rate",
            0.5,
        ),
        (both, "consumer_byte_rate", 2048.0),
        (
            vec![("ip", Some("127.0.0.1"))],
            "connection_creation_rate",
            10.0,
        ),
        (vec![("user", None)], "request_percentage", 150.5),
    ];
    assert_eq!(said, expected, "and one that is gone");
}

#[test]
fn a_log_of_kafkas_tokens_is_read() {
    let w = World::new().replayed(records_of(LOG));
    let tokens: Vec<_> = w.cluster.facts().tokens.all().collect();
    let [token] = tokens[..] else {
        panic!("one that was renewed, and one that is gone: {tokens:?}")
    };
    assert_eq!(
        (&*token.owner, &*token.requester),
        ("User:alice", "User:alice")
    );
    assert_eq!(token.renewers, ["User:bob".into()]);
    assert_eq!(token.ends_ms - token.issued_ms, 604_800_000);
    let renewed_ms = token.expires_ms - token.issued_ms - 100_000;
    assert!((0..60_000).contains(&renewed_ms), "{renewed_ms}");
}

#[test]
fn users_and_acls_come_and_go_by_their_records() {
    let mut w = World::new();
    assert_eq!(w.kinds(|w| w.user("a", Some(4096)).unwrap()), ["User"]);
    assert_eq!(w.kinds(|w| w.user("a", Some(5000)).unwrap()), ["User"]);
    assert_eq!(w.kinds(|w| w.user("a", None).unwrap()), ["RemoveUser"]);
    assert_eq!(
        w.kinds(|w| assert_eq!(w.user("a", None), Err(ErrorCode::ResourceNotFound))),
        [""; 0]
    );
    assert_eq!(w.kinds(|w| w.quota("a", Some(1.0)).unwrap()), ["Quota"]);
    assert_eq!(w.kinds(|w| w.quota("a", Some(1.0)).unwrap()), [""; 0]);
    assert_eq!(w.kinds(|w| w.quota("a", None).unwrap()), ["Quota null"]);
    assert_eq!(w.kinds(|w| w.token("k").unwrap()), ["Token"]);
    let renewed = w.kinds(|w| assert_eq!(w.prolong("k", Prolonging::Renew(-1)), Ok(101)));
    assert_eq!(renewed, ["Token"]);
    let ended = w.kinds(|w| assert_eq!(w.prolong("k", Prolonging::Expire(-1)), Ok(1)));
    assert_eq!(ended, ["RemoveToken"]);
    let none = Err(ErrorCode::DelegationTokenNotFound);
    assert_eq!(w.prolong("k", Prolonging::Expire(-1)), none);
    w.token("k").unwrap();
    w.prolong("k", Prolonging::Expire(1)).unwrap();
    w.token("l").unwrap();
    let now_ms = NOW.wall_ms + 3;
    let forgotten = w.kinds(|w| drop(w.ask(Command::ForgetTokens { now_ms })));
    assert_eq!(forgotten, ["RemoveToken"], "the one that has expired");
    let twice = w.kinds(|w| assert_eq!(w.create_acls(&["t", "u", "t"]), [Ok(()); 3]));
    assert_eq!(twice, ["Acl", "Acl"], "the same one once");
    let mixed = w.kinds(|w| {
        let refused = Err(ErrorCode::InvalidRequest);
        assert_eq!(w.create_acls(&["", "v", "t"]), [refused, Ok(()), Ok(())]);
    });
    assert_eq!(mixed, ["Acl"], "those that are well are created");
    let gone = w.kinds(|w| {
        let filters = [all_named(Some("t")), all_named(None), all_named(Some("x"))];
        let matching = w.delete_acls(&filters).unwrap();
        let counts: Vec<_> = matching.iter().map(Vec::len).collect();
        assert_eq!(counts, [1, 3, 0], "each by what was there before");
    });
    assert_eq!(gone, ["RemoveAcl", "RemoveAcl", "RemoveAcl"]);
}

/// A right that could not be taken away durably must not be gone for those who are served, nor one be there that was
/// not granted durably: after a restart the broker would have said the opposite.
#[test]
fn what_could_not_be_written_changes_nobodys_rights() {
    let mut w = World::new();
    w.user("a", Some(4096)).unwrap();
    w.create_acls(&["t"]);
    let (before, told) = (w.state(), w.told.len());
    w.failing = true;
    let storage = ErrorCode::KafkaStorageError;
    assert_eq!(w.user("a", Some(9000)), Err(storage));
    assert_eq!(w.user("a", None), Err(storage));
    assert_eq!(w.user("b", Some(4096)), Err(storage));
    assert_eq!(w.create_acls(&["u"]), [Err(storage)]);
    assert_eq!(w.delete_acls(&[all_named(None)]), Err(storage));
    assert_eq!(w.quota("a", Some(1.0)), Err(storage));
    assert_eq!(w.token("k"), Err(storage));
    assert_eq!(w.state(), before);
    let lost = &w.told[told..];
    assert!(lost.iter().all(|change| matches!(change, Change::Lost)));
    w.failing = false;
    assert_eq!(
        w.kinds(|w| drop(w.delete_acls(&[all_named(None)]))),
        ["RemoveAcl"]
    );
}

/// What whoever heard all changes knows.
fn heard(w: &World) -> Vec<Record> {
    let mut facts = Facts::default();
    for change in &w.told {
        match change {
            Change::Security(fact) => facts.set(fact),
            Change::SecurityWhole(whole) => facts = whole.clone(),
            _ => {}
        }
    }
    in_words(&facts)
}

fn in_words(facts: &Facts) -> Vec<Record> {
    let all = facts.all_quotas().chain(facts.all());
    all.map(Record::from).collect()
}

#[test]
fn replay_snapshot_and_whoever_was_told_agree() {
    let mut w = World::new();
    for round in 0..120 {
        w.failing = round % 7 == 6;
        let name = ["a", "b", "c", "d", "e"][round * 3 % 5];
        // Whether a step is carried out is left to what was before it.
        let _outcome = match round % 8 {
            0 => w.user(name, Some(4096 + round as i32)),
            1 => w.create_acls(&[name, "x"])[0],
            2 if round % 3 == 0 => w.delete_acls(&[all_named(Some(name))]).map(drop),
            2 => w.create_acls(&[name, "y", name])[0],
            3 => w.user(name, None),
            4 => w.quota(name, Some(1.0 + round as f64)),
            5 => w.token(name),
            6 => w
                .prolong(name, Prolonging::Expire(round as i64 % 3 - 1))
                .map(drop),
            _ => w.quota(name, None),
        };
    }
    w.failing = false;
    let state = w.state();
    let facts = in_words(w.cluster.facts());
    assert!(facts.len() > 4, "{facts:?}");
    assert_eq!(heard(&w), facts);
    let replayed = w.replayed(w.journal.clone());
    assert_eq!(replayed.state(), state);
    assert_eq!(heard(&replayed), facts);
    let snapshot = w.replayed(w.cluster.live().collect::<Vec<_>>());
    assert_eq!(snapshot.state(), state);
}

#[test]
fn a_password_shows_in_no_record_and_no_log_line() {
    let mut w = World::new();
    w.user("a", Some(4096)).unwrap();
    let Some(Record::Security(fact)) = w.journal.last() else {
        panic!("nothing about a user");
    };
    let Fact::User(change) = &**fact else {
        panic!("a record of the user")
    };
    let words = format!("{change:?}");
    assert!(
        words.contains("4096") && !words.contains("stored_key"),
        "{words}"
    );
}

/// Kafka's controllers end at records of kinds that they do not know.
#[test]
fn there_are_no_users_and_tokens_where_the_clusters_level_has_none() {
    let unsupported = Err(ErrorCode::UnsupportedVersion);
    for (level, users, tokens) in [
        (10, unsupported, unsupported),
        (11, Ok(()), unsupported),
        (13, Ok(()), unsupported),
        (14, Ok(()), Ok(())),
    ] {
        let mut w = at_level(level);
        let before = w.journal.len();
        assert_eq!(w.user("alice", Some(4096)), users, "{level}");
        assert_eq!(w.token("a"), tokens, "{level}");
        let written = usize::from(users.is_ok()) + usize::from(tokens.is_ok());
        assert_eq!(w.journal.len() - before, written, "{level}");
    }
}
