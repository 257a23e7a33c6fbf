//! Access control lists in Kafka's words: who may do what to which resource, and from where.

use crate::error::{ErrorCode, Refusal};
use ipnet::IpNet;
use rustka_wire::Uuid;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The name of the one cluster.
pub const CLUSTER: &str = "kafka-cluster";
/// Stands for every name, every host, and in `User:*` for every user.
pub const WILDCARD: &str = "*";

/// The number that stands for anything in filters.
pub const ANY: i8 = 1;
/// The number of "every operation".
pub const ALL_OPERATIONS: i8 = 2;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Kafka's number of it.
            pub fn code(self) -> i8 {
                match self { $($name::$variant => $code,)* }
            }

            /// The one with this number.
            pub fn from_code(code: i8) -> Option<$name> {
                match code { $($code => Some($name::$variant),)* _ => None }
            }
        }
    };
}

numbered! {
    /// What somebody wants to do.
    Operation {
        /// Consume.
        Read = 3,
        /// Produce.
        Write = 4,
        /// Create the resource.
        Create = 5,
        /// Delete it, or records of it.
        Delete = 6,
        /// Change it.
        Alter = 7,
        /// Know that it exists.
        Describe = 8,
        /// Do what brokers do among themselves.
        ClusterAction = 9,
        /// See its configs.
        DescribeConfigs = 10,
        /// Change its configs.
        AlterConfigs = 11,
        /// Get a producer id.
        IdempotentWrite = 12,
        /// Create delegation tokens for a user.
        CreateTokens = 13,
        /// See the delegation tokens of a user.
        DescribeTokens = 14,
        /// Keep a transaction open without a timeout (KIP-939).
        TwoPhaseCommit = 15,
    }
}

numbered! {
    /// The kinds of things that ACLs are about.
    ResourceType {
        /// A topic.
        Topic = 2,
        /// A group.
        Group = 3,
        /// The cluster as a whole.
        Cluster = 4,
        /// A transactional id.
        TransactionalId = 5,
        /// A delegation token.
        DelegationToken = 6,
        /// A user, as the owner of tokens.
        User = 7,
    }
}

numbered! {
    /// How a name in an ACL fits the names of resources.
    Pattern {
        /// The very name; `*` is every name.
        Literal = 3,
        /// Every name that begins like this; `*` is a star.
        Prefixed = 4,
    }
}

numbered! {
    /// What an ACL does.
    Permission {
        /// Forbids, whatever else allows.
        Deny = 2,
        /// Allows.
        Allow = 3,
    }
}

/// What something is to be done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
    /// The cluster as a whole.
    Cluster,
    /// A transactional id.
    TransactionalId(&'a str),
    /// A delegation token by its id.
    DelegationToken(&'a str),
    /// A user such as `User:alice`, as the owner of tokens.
    User(&'a str),
}

impl<'a> Resource<'a> {
    /// What a client is told that may not do what it wants to it.
    pub fn denial(self) -> ErrorCode {
        match self {
            Resource::Topic(_) => ErrorCode::TopicAuthorizationFailed,
            Resource::Group(_) => ErrorCode::GroupAuthorizationFailed,
            Resource::Cluster => ErrorCode::ClusterAuthorizationFailed,
            Resource::TransactionalId(_) => ErrorCode::TransactionalIdAuthorizationFailed,
            Resource::DelegationToken(_) | Resource::User(_) => {
                ErrorCode::DelegationTokenAuthorizationFailed
            }
        }
    }

    /// Its kind.
    pub fn kind(self) -> ResourceType {
        match self {
            Resource::Topic(_) => ResourceType::Topic,
            Resource::Group(_) => ResourceType::Group,
            Resource::Cluster => ResourceType::Cluster,
            Resource::TransactionalId(_) => ResourceType::TransactionalId,
            Resource::DelegationToken(_) => ResourceType::DelegationToken,
            Resource::User(_) => ResourceType::User,
        }
    }

    /// Its name.
    pub fn name(self) -> &'a str {
        match self {
            Resource::Cluster => CLUSTER,
            Resource::Topic(name)
            | Resource::Group(name)
            | Resource::TransactionalId(name)
            | Resource::DelegationToken(name)
            | Resource::User(name) => name,
        }
    }
}

/// One ACL, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// The kind of resource.
    pub kind: ResourceType,
    /// How `name` fits.
    pub pattern: Pattern,
    /// The resource's name or the beginning of it.
    pub name: Box<str>,
    /// Such as `User:alice`.
    pub principal: Box<str>,
    /// An address, a network such as `10.0.0.0/8`, or `*`.
    pub host: Box<str>,
    /// The number of an operation, or [`ALL_OPERATIONS`].
    pub operation: i8,
    /// Whether it allows or forbids.
    pub permission: Permission,
}

/// ACLs by the ids under which they are on record.
#[derive(Clone, Debug, Default)]
pub struct AclBook {
    by_id: BTreeMap<Uuid, Arc<Acl>>,
    ids: BTreeSet<(Arc<Acl>, Uuid)>,
}

impl AclBook {
    /// All of them, in the order of what they are about.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Acl>> {
        self.ids.iter().map(|(acl, _)| acl)
    }

    /// The same with the id of each.
    pub fn with_ids(&self) -> impl Iterator<Item = &(Arc<Acl>, Uuid)> {
        self.ids.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// What is on record under an id.
    pub fn get(&self, id: Uuid) -> Option<&Arc<Acl>> {
        self.by_id.get(&id)
    }

    /// Whether this very one is there, under whatever id.
    pub fn contains(&self, acl: &Arc<Acl>) -> bool {
        let first = (Arc::clone(acl), Uuid::ZERO);
        let next = self.ids.range(first..).next();
        next.is_some_and(|(other, _)| other == acl)
    }

    /// What is on record under an id from now on.
    pub fn set(&mut self, id: Uuid, acl: Option<Arc<Acl>>) {
        let gone = match acl {
            Some(acl) => {
                self.ids.insert((Arc::clone(&acl), id));
                self.by_id.insert(id, acl.clone()).filter(|old| *old != acl)
            }
            None => self.by_id.remove(&id),
        };
        if let Some(gone) = gone {
            self.ids.remove(&(gone, id));
        }
    }
}

/// An ACL as a request has it: numbers that may mean nothing.
#[derive(Clone, Copy, Debug)]
pub struct RawAcl<'a> {
    /// Resource type.
    pub kind: i8,
    /// Pattern type.
    pub pattern: i8,
    /// Resource name.
    pub name: &'a str,
    /// Principal.
    pub principal: &'a str,
    /// Host.
    pub host: &'a str,
    /// Operation.
    pub operation: i8,
    /// Permission type.
    pub permission: i8,
}

impl RawAcl<'_> {
    /// Whether a part says of itself that it is not known; Kafka hangs up on requests with one.
    pub fn is_unknown(&self) -> bool {
        is_unknown(self.kind, self.pattern, self.operation, self.permission)
    }

    /// Checks it. Names that no resource can have are as welcome as in Kafka.
    pub fn check(&self) -> Result<Acl, Refusal> {
        let wrong = |what: String| Refusal::new(ErrorCode::InvalidRequest, what);
        let not_one =
            |what: &str| wrong(format!("an ACL has one {what}, not any or all that match"));
        let kind = ResourceType::from_code(self.kind).ok_or_else(|| not_one("resource type"))?;
        let pattern = Pattern::from_code(self.pattern).ok_or_else(|| not_one("pattern type"))?;
        let permission =
            Permission::from_code(self.permission).ok_or_else(|| not_one("permission type"))?;
        if self.operation != ALL_OPERATIONS && Operation::from_code(self.operation).is_none() {
            return Err(not_one("operation"));
        }
        if self.name.is_empty() {
            return Err(wrong("the resource has no name".to_owned()));
        }
        if kind == ResourceType::Cluster && self.name != CLUSTER {
            return Err(wrong(format!("the cluster's name is {CLUSTER}")));
        }
        if !self.principal.contains(':') {
            return Err(wrong(
                "a principal has a type and a name, such as User:alice".to_owned(),
            ));
        }
        Host::parse(self.host).map_err(wrong)?;
        Ok(Acl {
            kind,
            pattern,
            name: self.name.into(),
            principal: self.principal.into(),
            host: self.host.into(),
            operation: self.operation,
            permission,
        })
    }
}

/// The number that stands for what is not known.
const UNKNOWN: i8 = 0;

/// Whether any part of an ACL or a filter says of itself that it is not known.
pub fn is_unknown(kind: i8, pattern: i8, operation: i8, permission: i8) -> bool {
    [kind, pattern, operation, permission].contains(&UNKNOWN)
}

/// From where an ACL holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// From everywhere.
    Any,
    /// From one address.
    Address(IpAddr),
    /// From a network (KIP-1154).
    Network(IpNet),
    /// From nowhere: names of hosts are kept, but match no address, as in Kafka.
    Name,
}

impl Host {
    /// Reads a host as ACLs have it.
    pub fn parse(text: &str) -> Result<Host, String> {
        if text.is_empty() {
            return Err("an ACL has a host, such as * for every one".to_owned());
        }
        if text == WILDCARD {
            return Ok(Host::Any);
        }
        if text.contains('/') {
            let network = text.parse::<IpNet>();
            return network.map(Host::Network).map_err(|_| {
                "Invalid CIDR notation: expected an address and a length, such as 10.0.0.0/8"
                    .to_owned()
            });
        }
        Ok(text.parse().map_or(Host::Name, Host::Address))
    }

    /// Whether it holds for whoever comes from there.
    pub fn fits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Host::Any => true,
            Host::Address(own) => own.to_canonical() == address,
            Host::Network(network) => network.contains(&address),
            Host::Name => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: RawAcl<'_> = RawAcl {
        kind: 2,
        pattern: 3,
        name: "t",
        principal: "User:alice",
        host: "*",
        operation: 3,
        permission: 3,
    };

    fn told(acl: RawAcl<'_>) -> (ErrorCode, String) {
        let refusal = acl.check().expect_err("a refusal");
        (
            refusal.code,
            refusal.message.unwrap_or_default().into_owned(),
        )
    }

    #[test]
    fn an_acl_that_says_nothing_definite_is_refused_with_what_is_missing() {
        assert!(GOOD.check().is_ok());
        let cases = [
            (RawAcl { kind: ANY, ..GOOD }, "resource type"),
            (
                RawAcl {
                    pattern: ANY,
                    ..GOOD
                },
                "pattern type",
            ),
            (RawAcl { pattern: 2, ..GOOD }, "pattern type"),
            (
                RawAcl {
                    operation: ANY,
                    ..GOOD
                },
                "operation",
            ),
            (
                RawAcl {
                    permission: ANY,
                    ..GOOD
                },
                "permission",
            ),
            (RawAcl { name: "", ..GOOD }, "no name"),
            (
                RawAcl {
                    principal: "alice",
                    ..GOOD
                },
                "User:alice",
            ),
            (RawAcl { host: "", ..GOOD }, "host"),
            (
                RawAcl {
                    host: "10.0.0.0/33",
                    ..GOOD
                },
                "Invalid CIDR notation",
            ),
            (
                RawAcl {
                    host: "a/8",
                    ..GOOD
                },
                "Invalid CIDR notation",
            ),
            (RawAcl { kind: 4, ..GOOD }, CLUSTER),
        ];
        for (acl, part) in cases {
            assert!(!acl.is_unknown());
            let (code, message) = told(acl);
            assert_eq!(code, ErrorCode::InvalidRequest);
            assert!(message.contains(part), "{acl:?}: {message}");
        }
        for acl in [
            RawAcl { kind: 0, ..GOOD },
            RawAcl { pattern: 0, ..GOOD },
            RawAcl {
                operation: 0,
                ..GOOD
            },
            RawAcl {
                permission: 0,
                ..GOOD
            },
        ] {
            assert!(acl.is_unknown(), "{acl:?}");
        }
        let beyond = RawAcl {
            operation: 99,
            ..GOOD
        };
        assert!(!beyond.is_unknown() && beyond.check().is_err());
        let odd = RawAcl {
            principal: "user:",
            name: "no topic: ü",
            host: "a.example",
            ..GOOD
        };
        assert!(odd.check().is_ok());
    }

    #[test]
    fn hosts_are_everywhere_an_address_or_a_network() {
        let fits =
            |host: &str, address: &str| Host::parse(host).unwrap().fits(address.parse().unwrap());
        assert!(fits("*", "::1"));
        assert!(fits("10.0.0.1", "10.0.0.1") && !fits("10.0.0.1", "10.0.0.2"));
        assert!(
            fits("10.0.0.1", "::ffff:10.0.0.1"),
            "as a socket for both families has it"
        );
        assert!(fits("10.1.2.3/8", "10.9.9.9") && !fits("10.1.2.3/8", "11.0.0.1"));
        assert!(fits("2001:db8::/32", "2001:db8:1::1") && !fits("2001:db8::/32", "::1"));
        assert!(!fits("127.0.0.*", "127.0.0.1") && !fits("localhost", "127.0.0.1"));
    }
}
