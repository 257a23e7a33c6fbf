//! Decides by ACLs who may do what, with the rules of Kafka's own authorizer: deny wins, some rights bring others.

use super::acl::{
    ALL_OPERATIONS, Acl, AclBook, Host, Operation, Pattern, Permission, Resource, ResourceType,
    WILDCARD,
};
use rustka_wire::Uuid;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Every user.
const EVERYBODY: &str = "User:*";
/// Some topic, of which nothing is known: whoever may write to it may write to all.
const SOME_NAME: &str = "hardcode";

/// Who wants something.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Such as `User:alice`.
    pub principal: &'a str,
    /// From where.
    pub address: IpAddr,
}

/// What holds where no ACL does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizerOptions {
    /// May do everything (`super.users`).
    pub super_users: BTreeSet<Box<str>>,
    /// Whether a resource without any ACL is everybody's (`allow.everyone.if.no.acl.found`).
    pub allow_if_no_acl: bool,
}

impl AuthorizerOptions {
    /// `super.users` has semicolons between its users.
    pub fn new(super_users: &str, allow_if_no_acl: bool) -> Result<AuthorizerOptions, String> {
        let users = super_users.split(';').map(str::trim);
        let users: BTreeSet<Box<str>> = users
            .filter(|user| !user.is_empty())
            .map(Box::from)
            .collect();
        match users.iter().find(|user| !user.contains(':')) {
            Some(user) => Err(format!(
                "'{}' is no principal: expected a type and a name, such as User:admin, with semicolons between several",
                user.escape_debug()
            )),
            None => Ok(AuthorizerOptions {
                super_users: users,
                allow_if_no_acl,
            }),
        }
    }
}

/// All ACLs, found by what they are about.
#[derive(Clone, Debug, Default)]
pub struct Acls {
    book: AclBook,
    kinds: BTreeMap<ResourceType, ByName>,
}

#[derive(Clone, Debug, Default)]
struct ByName {
    literal: Patterns,
    prefixed: Patterns,
    /// Those for every name.
    wildcard: Rules,
    /// How many prefixes there are of each length, so that a name is looked up a few times only.
    prefix_lengths: BTreeMap<usize, usize>,
}

/// Rules by the text of their patterns. Found by a hash of it, since names have long beginnings in common; only those
/// who may change ACLs could make up texts that share one.
#[derive(Clone, Debug, Default)]
struct Patterns(BTreeMap<u64, Vec<(Box<str>, Rules)>>);

/// FNV-1a, byte by byte, so that the hashes of all prefixes are found on the way.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const EMPTY: Hash = Hash(0xcbf2_9ce4_8422_2325);

    fn with(self, bytes: &[u8]) -> Hash {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Hash(bytes.iter().fold(self.0, step))
    }
}

impl Patterns {
    fn get(&self, hash: Hash, text: &[u8]) -> Option<&Rules> {
        let same = self.0.get(&hash.0)?;
        let own = same.iter().find(|(known, _)| known.as_bytes() == text);
        own.map(|(_, rules)| rules)
    }

    /// The rules of a text, made if need be, and whether they were.
    fn entry(&mut self, text: &str) -> (&mut Rules, bool) {
        let same = self.0.entry(Hash::EMPTY.with(text.as_bytes()).0);
        let same = same.or_default();
        let known = same.iter().position(|(known, _)| **known == *text);
        let place = known.unwrap_or_else(|| {
            same.push((text.into(), Rules::default()));
            same.len() - 1
        });
        (&mut same[place].1, known.is_none())
    }

    /// Takes a rule away; whether it was the last of its text.
    fn remove(&mut self, acl: &Acl) -> bool {
        let hash = Hash::EMPTY.with(acl.name.as_bytes()).0;
        let Some(same) = self.0.get_mut(&hash) else {
            return false;
        };
        let Some(place) = same.iter().position(|(known, _)| *known == acl.name) else {
            return false;
        };
        same[place].1.remove(acl);
        let is_last = same[place].1.0.is_empty();
        if is_last {
            same.swap_remove(place);
        }
        if same.is_empty() {
            self.0.remove(&hash);
        }
        is_last
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &Rules)> {
        let all = self.0.values().flatten();
        all.map(|(text, rules)| (&**text, rules))
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The rules for one pattern, by principal.
#[derive(Clone, Debug, Default)]
struct Rules(BTreeMap<Box<str>, Vec<Rule>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    host: Host,
    operation: i8,
    permission: Permission,
}

/// What the rules that concern somebody say.
#[derive(Default)]
struct Verdict {
    /// Whether the resource has any ACL at all.
    found: bool,
    allowed: bool,
    denied: bool,
}

/// The rights that bring this one.
fn bring(operation: Operation) -> &'static [Operation] {
    use Operation::*;
    match operation {
        Describe => &[Describe, Read, Write, Delete, Alter],
        DescribeConfigs => &[DescribeConfigs, AlterConfigs],
        Read => &[Read],
        Write => &[Write],
        Create => &[Create],
        Delete => &[Delete],
        Alter => &[Alter],
        ClusterAction => &[ClusterAction],
        AlterConfigs => &[AlterConfigs],
        IdempotentWrite => &[IdempotentWrite],
        CreateTokens => &[CreateTokens],
        DescribeTokens => &[DescribeTokens],
        TwoPhaseCommit => &[TwoPhaseCommit],
    }
}

impl Acls {
    /// All of them, in an order of our own.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Acl>> {
        self.book.all()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.book.count()
    }

    /// What holds under an id from now on, or that nothing does.
    pub fn set(&mut self, id: Uuid, acl: Option<Arc<Acl>>) {
        if let Some(gone) = self.book.get(id).cloned() {
            self.remove(&gone);
        }
        if let Some(acl) = &acl {
            self.add(acl);
        }
        self.book.set(id, acl);
    }

    fn add(&mut self, acl: &Acl) {
        let rule = Rule::of(acl);
        let names = self.kinds.entry(acl.kind).or_default();
        let rules = match acl.pattern {
            Pattern::Literal if *acl.name == *WILDCARD => &mut names.wildcard,
            Pattern::Literal => names.literal.entry(&acl.name).0,
            Pattern::Prefixed => {
                let (rules, is_new) = names.prefixed.entry(&acl.name);
                if is_new {
                    *names.prefix_lengths.entry(acl.name.len()).or_default() += 1;
                }
                rules
            }
        };
        rules.0.entry(acl.principal.clone()).or_default().push(rule);
    }

    fn remove(&mut self, acl: &Acl) {
        let Some(names) = self.kinds.get_mut(&acl.kind) else {
            return;
        };
        match acl.pattern {
            Pattern::Literal if *acl.name == *WILDCARD => names.wildcard.remove(acl),
            Pattern::Literal => {
                names.literal.remove(acl);
            }
            Pattern::Prefixed => {
                if names.prefixed.remove(acl) {
                    names.forget_prefix_of(acl.name.len());
                }
            }
        }
    }

    /// Whether somebody may do this to that.
    pub fn allow(
        &self,
        options: &AuthorizerOptions,
        subject: Subject<'_>,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        if options.super_users.contains(subject.principal) {
            return true;
        }
        let mut verdict = Verdict::default();
        if let Some(names) = self.kinds.get(&resource.kind()) {
            for rules in names.fitting(resource.name()) {
                verdict.found = true;
                rules.judge(subject, operation, &mut verdict);
                if verdict.denied {
                    return false;
                }
            }
        }
        verdict.allowed || !verdict.found && options.allow_if_no_acl
    }

    /// Whether somebody may do this to some resource of a kind, one that exists or another.
    pub fn allow_for_some(
        &self,
        options: &AuthorizerOptions,
        subject: Subject<'_>,
        operation: Operation,
        kind: ResourceType,
    ) -> bool {
        let some = match kind {
            ResourceType::Group => Resource::Group(SOME_NAME),
            ResourceType::TransactionalId => Resource::TransactionalId(SOME_NAME),
            ResourceType::Cluster => Resource::Cluster,
            ResourceType::DelegationToken => Resource::DelegationToken(SOME_NAME),
            ResourceType::User => Resource::User(SOME_NAME),
            ResourceType::Topic => Resource::Topic(SOME_NAME),
        };
        if self.allow(options, subject, operation, some) {
            return true;
        }
        let Some(names) = self.kinds.get(&kind) else {
            return false;
        };
        let says = |rules: &Rules, permission| rules.says(subject, operation, permission);
        if says(&names.wildcard, Permission::Deny) {
            return false;
        }
        if says(&names.wildcard, Permission::Allow) {
            return true;
        }
        // A longer prefix or the very name denied does not take everything; a shorter prefix denied does.
        let is_covered = |name: &str| {
            names
                .prefixes_of(name)
                .any(|rules| says(rules, Permission::Deny))
        };
        let literal = names.literal.iter().any(|(name, rules)| {
            says(rules, Permission::Allow) && !says(rules, Permission::Deny) && !is_covered(name)
        });
        literal
            || names
                .prefixed
                .iter()
                .any(|(name, rules)| says(rules, Permission::Allow) && !is_covered(name))
    }
}

impl ByName {
    /// The rules of every prefix of a name, itself included.
    fn prefixes_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Rules> {
        let name = name.as_bytes();
        let lengths = self.prefix_lengths.range(..=name.len());
        let mut hashed = (0, Hash::EMPTY);
        lengths.filter_map(move |(length, _)| {
            let hash = hashed.1.with(&name[hashed.0..*length]);
            hashed = (*length, hash);
            self.prefixed.get(hash, &name[..*length])
        })
    }

    /// The rules of every pattern that fits a name.
    fn fitting<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Rules> {
        let own = self
            .literal
            .get(Hash::EMPTY.with(name.as_bytes()), name.as_bytes());
        let all = Some(&self.wildcard).filter(|rules| !rules.0.is_empty());
        own.into_iter().chain(all).chain(self.prefixes_of(name))
    }

    fn forget_prefix_of(&mut self, length: usize) {
        if let Some(count) = self.prefix_lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                self.prefix_lengths.remove(&length);
            }
        }
    }
}

impl Rules {
    fn remove(&mut self, acl: &Acl) {
        let rule = Rule::of(acl);
        if let Some(rules) = self.0.get_mut(&acl.principal) {
            // Two ways of writing a host may be one rule: only one of them goes.
            if let Some(at) = rules.iter().position(|other| *other == rule) {
                rules.swap_remove(at);
            }
            if rules.is_empty() {
                self.0.remove(&acl.principal);
            }
        }
    }

    /// The rules for somebody, their own and everybody's.
    fn of<'a>(&'a self, subject: Subject<'a>) -> impl Iterator<Item = &'a Rule> {
        let own = self.0.get(subject.principal);
        let everybody = self
            .0
            .get(EVERYBODY)
            .filter(|_| subject.principal != EVERYBODY && subject.principal.starts_with("User:"));
        let rules = own.into_iter().chain(everybody).flatten();
        rules.filter(move |rule| rule.host.fits(subject.address))
    }

    fn judge(&self, subject: Subject<'_>, operation: Operation, verdict: &mut Verdict) {
        for rule in self.of(subject) {
            match rule.permission {
                Permission::Deny if rule.covers(operation) => verdict.denied = true,
                Permission::Allow => {
                    verdict.allowed |= bring(operation).iter().any(|other| rule.covers(*other));
                }
                Permission::Deny => {}
            }
        }
    }

    /// Whether a rule says this of the very operation.
    fn says(&self, subject: Subject<'_>, operation: Operation, permission: Permission) -> bool {
        self.of(subject)
            .any(|rule| rule.permission == permission && rule.covers(operation))
    }
}

impl Rule {
    fn of(acl: &Acl) -> Rule {
        Rule {
            host: Host::parse(&acl.host).unwrap_or(Host::Name),
            operation: acl.operation,
            permission: acl.permission,
        }
    }

    fn covers(&self, operation: Operation) -> bool {
        self.operation == ALL_OPERATIONS || self.operation == operation.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::*;

    const ALICE: &str = "User:alice";

    /// `allow User:alice READ topic literal orders [host]`
    fn acl(text: &str) -> Acl {
        let words: Vec<&str> = text.split(' ').collect();
        let operation = match words[2] {
            "ALL" => ALL_OPERATIONS,
            "READ" => Read.code(),
            "WRITE" => Write.code(),
            "CREATE" => Create.code(),
            "ALTER_CONFIGS" => AlterConfigs.code(),
            other => panic!("{other}"),
        };
        Acl {
            permission: match words[0] {
                "allow" => Permission::Allow,
                _ => Permission::Deny,
            },
            principal: words[1].into(),
            operation,
            kind: match words[3] {
                "topic" => ResourceType::Topic,
                _ => ResourceType::Group,
            },
            pattern: match words[4] {
                "literal" => Pattern::Literal,
                _ => Pattern::Prefixed,
            },
            name: words[5].into(),
            host: words.get(6).copied().unwrap_or("*").into(),
        }
    }

    fn id_of(place: usize) -> Uuid {
        Uuid((place as u128 + 1).to_be_bytes())
    }

    /// Each under the id of its place.
    fn acls(lines: &[&str]) -> Acls {
        let mut acls = Acls::default();
        for (id, line) in lines.iter().enumerate() {
            acls.set(id_of(id), Some(acl(line).into()));
        }
        acls
    }

    fn may(acls: &Acls, principal: &str, operation: Operation, topic: &str) -> bool {
        let subject = Subject {
            principal,
            address: [10, 0, 0, 1].into(),
        };
        let options = AuthorizerOptions::new("User:root;User:admin", false).unwrap();
        acls.allow(&options, subject, operation, Resource::Topic(topic))
    }

    fn may_some(lines: &[&str]) -> bool {
        let subject = Subject {
            principal: ALICE,
            address: [10, 0, 0, 1].into(),
        };
        let options = AuthorizerOptions::default();
        acls(lines).allow_for_some(&options, subject, Write, ResourceType::Topic)
    }

    #[test]
    fn nothing_is_allowed_but_to_super_users_until_an_acl_says_so() {
        let none = Acls::default();
        assert!(!may(&none, ALICE, Read, "t"));
        assert!(may(&none, "User:admin", Read, "t") && may(&none, "User:root", Read, "t"));
        let some = acls(&["allow User:alice READ topic literal t"]);
        assert!(may(&some, ALICE, Read, "t"));
        assert!(!may(&some, ALICE, Write, "t") && !may(&some, ALICE, Read, "tt"));
        assert!(!may(&some, "User:bob", Read, "t") && !may(&some, "User:Alice", Read, "t"));
    }

    #[test]
    fn prefixes_and_stars_fit_many_names_but_a_prefix_of_a_star_only_stars() {
        let some = acls(&[
            "allow User:alice READ topic prefixed or",
            "allow User:alice READ topic prefixed orders-",
            "allow User:alice WRITE topic literal *",
            "allow User:alice CREATE topic prefixed *",
        ]);
        assert!(may(&some, ALICE, Read, "or") && may(&some, ALICE, Read, "orders-1"));
        assert!(!may(&some, ALICE, Read, "o") && !may(&some, ALICE, Read, "xor"));
        assert!(may(&some, ALICE, Write, "anything"));
        assert!(!may(&some, ALICE, Create, "anything") && may(&some, ALICE, Create, "*x"));
        assert!(
            !may(&some, ALICE, Read, "ö"),
            "a prefix may end within a character"
        );
    }

    #[test]
    fn a_deny_wins_over_every_allow() {
        let lines = [
            "allow User:* ALL topic prefixed t",
            "deny User:alice READ topic literal t-secret",
            "deny User:bob ALL topic literal *",
        ];
        let some = acls(&lines);
        assert!(may(&some, ALICE, Read, "t-open") && may(&some, ALICE, Write, "t-secret"));
        assert!(!may(&some, ALICE, Read, "t-secret"));
        assert!(
            may(&some, ALICE, Describe, "t-secret"),
            "it came with WRITE"
        );
        assert!(!may(&some, "User:bob", Describe, "t-open"));
        assert!(may(&some, "User:carol", Delete, "t-open"));
    }

    #[test]
    fn some_rights_bring_others() {
        for right in ["READ", "WRITE"] {
            let some = acls(&[&format!("allow User:alice {right} topic literal t")]);
            assert!(may(&some, ALICE, Describe, "t") && !may(&some, ALICE, DescribeConfigs, "t"));
        }
        let some = acls(&["allow User:alice CREATE topic literal t"]);
        assert!(!may(&some, ALICE, Describe, "t"));
        let some = acls(&["allow User:alice ALTER_CONFIGS topic literal t"]);
        assert!(may(&some, ALICE, DescribeConfigs, "t") && !may(&some, ALICE, Describe, "t"));
        let some = acls(&[
            "allow User:alice READ topic literal t",
            "deny User:alice READ topic literal t",
        ]);
        assert!(may(&some, ALICE, Describe, "t"), "a deny of READ leaves it");
        assert!(!may(&some, ALICE, Read, "t"));
    }

    #[test]
    fn an_acl_holds_from_its_hosts_only() {
        let some = acls(&[
            "allow User:alice READ topic literal a 10.0.0.0/8",
            "allow User:alice READ topic literal b 192.168.0.1",
        ]);
        assert!(may(&some, ALICE, Read, "a") && !may(&some, ALICE, Read, "b"));
    }

    #[test]
    fn without_any_acl_a_resource_may_be_everybodys() {
        let options = AuthorizerOptions::new("", true).unwrap();
        let some = acls(&["allow User:bob READ topic literal t"]);
        let subject = Subject {
            principal: ALICE,
            address: [10, 0, 0, 1].into(),
        };
        let allow = |name| some.allow(&options, subject, Read, Resource::Topic(name));
        assert!(allow("other") && !allow("t"));
        assert!(
            AuthorizerOptions::new("admin", true)
                .unwrap_err()
                .contains("User:admin")
        );
    }

    #[test]
    fn what_is_taken_away_no_longer_holds() {
        let lines = [
            "allow User:alice READ topic prefixed t",
            "allow User:alice READ topic prefixed t 10.0.0.1",
            "allow User:alice READ topic literal t",
        ];
        let mut some = acls(&lines);
        some.set(id_of(9), Some(acl(lines[1]).into()));
        assert_eq!(some.count(), 4, "also one that says what another does");
        some.set(id_of(2), None);
        some.set(id_of(0), None);
        some.set(id_of(1), None);
        assert!(may(&some, ALICE, Read, "t1"), "the other one still says so");
        some.set(id_of(9), None);
        some.set(id_of(9), None);
        assert!(!may(&some, ALICE, Read, "t1"));
        assert_eq!(some.count(), 0);
        let names = &some.kinds[&ResourceType::Topic];
        assert!(names.prefixed.is_empty() && names.prefix_lengths.is_empty());
    }

    #[test]
    fn who_may_write_to_some_topic_may_have_a_producer_id() {
        assert!(!may_some(&[]));
        assert!(may_some(&["allow User:alice WRITE topic literal t"]));
        assert!(may_some(&["allow User:* ALL topic prefixed t"]));
        assert!(!may_some(&["allow User:alice READ topic literal t"]));
        let all = "allow User:alice WRITE topic literal *";
        assert!(may_some(&[all, "deny User:alice WRITE topic literal t"]));
        assert!(!may_some(&[all, "deny User:alice WRITE topic literal *"]));
        let prefix = "allow User:alice WRITE topic prefixed ab";
        assert!(!may_some(&[
            prefix,
            "deny User:alice WRITE topic prefixed a"
        ]));
        assert!(may_some(&[
            prefix,
            "deny User:alice WRITE topic prefixed abc"
        ]));
        assert!(may_some(&[
            prefix,
            "deny User:alice WRITE topic literal ab"
        ]));
    }
}
