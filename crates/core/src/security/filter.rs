//! Filters of DescribeAcls and DeleteAcls.

use super::acl::{ANY, Acl, Pattern, Permission, ResourceType, WILDCARD, is_unknown};

/// The pattern type that asks for what would apply to a name.
const MATCH: i8 = 2;

/// Which ACLs are meant. A null stands for anything.
#[derive(Clone, Debug)]
pub struct AclFilter {
    /// Resource type, or [`ANY`].
    pub kind: i8,
    /// Pattern type, [`ANY`] or 2 for those that would apply to the name.
    pub pattern: i8,
    /// Resource name.
    pub name: Option<Box<str>>,
    /// Principal, compared as it is.
    pub principal: Option<Box<str>>,
    /// Host, compared as it is.
    pub host: Option<Box<str>>,
    /// Operation, or [`ANY`].
    pub operation: i8,
    /// Permission type, or [`ANY`].
    pub permission: i8,
}

impl AclFilter {
    /// Whether a part says of itself that it is not known; Kafka hangs up on requests with one.
    pub fn is_unknown(&self) -> bool {
        is_unknown(self.kind, self.pattern, self.operation, self.permission)
    }

    /// Whether an ACL is meant.
    pub fn fits(&self, acl: &Acl) -> bool {
        let is = |wanted: &Option<Box<str>>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        (self.kind == ANY || ResourceType::from_code(self.kind) == Some(acl.kind))
            && self.fits_name(acl)
            && is(&self.principal, &acl.principal)
            && is(&self.host, &acl.host)
            && (self.operation == ANY || self.operation == acl.operation)
            && (self.permission == ANY
                || Permission::from_code(self.permission) == Some(acl.permission))
    }

    fn fits_name(&self, acl: &Acl) -> bool {
        let is_pattern =
            self.pattern <= MATCH || Pattern::from_code(self.pattern) == Some(acl.pattern);
        let Some(name) = self.name.as_deref() else {
            return is_pattern;
        };
        if self.pattern != MATCH {
            return is_pattern && *name == *acl.name;
        }
        match acl.pattern {
            Pattern::Literal => *acl.name == *name || *acl.name == *WILDCARD,
            Pattern::Prefixed => name.starts_with(&*acl.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYTHING: AclFilter = AclFilter {
        kind: ANY,
        pattern: ANY,
        name: None,
        principal: None,
        host: None,
        operation: ANY,
        permission: ANY,
    };

    fn acl(pattern: Pattern, name: &str) -> Acl {
        Acl {
            kind: ResourceType::Topic,
            pattern,
            name: name.into(),
            principal: "User:alice".into(),
            host: "*".into(),
            operation: 3,
            permission: Permission::Allow,
        }
    }

    #[test]
    fn a_name_means_itself_or_all_that_would_apply_to_it() {
        let all = [
            acl(Pattern::Literal, "foobar"),
            acl(Pattern::Literal, "foo"),
            acl(Pattern::Literal, "*"),
            acl(Pattern::Prefixed, "foo"),
            acl(Pattern::Prefixed, "foobarbaz"),
        ];
        let meant = |pattern, name: Option<&str>| {
            let filter = AclFilter {
                pattern,
                name: name.map(Box::from),
                ..ANYTHING
            };
            let meant = all.iter().enumerate().filter(|(_, acl)| filter.fits(acl));
            meant.map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(meant(MATCH, Some("foobar")), [0, 2, 3]);
        assert_eq!(meant(ANY, Some("foo")), [1, 3]);
        assert_eq!(meant(3, Some("foo")), [1]);
        assert_eq!(meant(4, None), [3, 4]);
        assert_eq!(meant(MATCH, None), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn every_other_part_is_compared_as_it_is() {
        let one = acl(Pattern::Literal, "t");
        let wrong = [
            AclFilter {
                kind: 3,
                ..ANYTHING
            },
            AclFilter {
                principal: Some("User:*".into()),
                ..ANYTHING
            },
            AclFilter {
                host: Some("10.0.0.1".into()),
                ..ANYTHING
            },
            AclFilter {
                operation: 2,
                ..ANYTHING
            },
            AclFilter {
                permission: 2,
                ..ANYTHING
            },
        ];
        assert!(wrong.iter().all(|filter| !filter.fits(&one)));
        let right = AclFilter {
            kind: 2,
            host: Some("*".into()),
            operation: 3,
            permission: 3,
            ..ANYTHING
        };
        assert!(right.fits(&one) && !right.is_unknown());
        assert!(
            AclFilter {
                pattern: 0,
                ..ANYTHING
            }
            .is_unknown()
        );
    }
}
