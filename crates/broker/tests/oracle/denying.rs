//! The authorizer of the scenarios, the twin of `clients/oracle/Denying.java`: it denies what the client id of a request
//! says, "deny:READ TOPIC secret,* GROUP *", and notes what such a request was checked for.

use rustka::hooks::{Authorizer, Context, Operation, Resource};
use std::sync::Mutex;

const PREFIX: &str = "deny:";
/// Stands for some topic, whichever.
const ANY: &str = "*any*";

/// Denies and takes notes.
#[derive(Default)]
pub struct Denying(Mutex<Vec<String>>);

impl Denying {
    /// What was asked since this was called last.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("notes"))
    }

    fn check(&self, context: &Context<'_>, operation: Operation, of: (&str, &str)) -> bool {
        let Some(rules) = context.client_id.strip_prefix(PREFIX) else {
            return true;
        };
        let operation = name(operation);
        let mut asked = self.0.lock().expect("notes");
        asked.push(format!("{operation} {} {}", of.0, of.1));
        let fits = |rule: &str, value: &str| rule == "*" || rule == value;
        !rules.split(',').any(|rule| {
            let parts: Vec<&str> = rule.splitn(3, ' ').collect();
            matches!(parts[..], [o, t, n] if fits(o, operation) && fits(t, of.0) && fits(n, of.1))
        })
    }
}

impl Authorizer for Denying {
    fn is_allowed(
        &self,
        context: &Context<'_>,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        let of = match resource {
            Resource::Topic(name) => ("TOPIC", name),
            Resource::Group(name) => ("GROUP", name),
            Resource::Cluster => ("CLUSTER", "kafka-cluster"),
            Resource::TransactionalId(name) => ("TRANSACTIONAL_ID", name),
            Resource::DelegationToken(name) => ("DELEGATION_TOKEN", name),
            Resource::User(name) => ("USER", name),
        };
        self.check(context, operation, of)
    }

    fn is_allowed_for_some_topic(&self, context: &Context<'_>, operation: Operation) -> bool {
        self.check(context, operation, ("TOPIC", ANY))
    }
}

fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "READ",
        Operation::Write => "WRITE",
        Operation::Create => "CREATE",
        Operation::Delete => "DELETE",
        Operation::Alter => "ALTER",
        Operation::Describe => "DESCRIBE",
        Operation::ClusterAction => "CLUSTER_ACTION",
        Operation::DescribeConfigs => "DESCRIBE_CONFIGS",
        Operation::AlterConfigs => "ALTER_CONFIGS",
        Operation::IdempotentWrite => "IDEMPOTENT_WRITE",
        Operation::CreateTokens => "CREATE_TOKENS",
        Operation::DescribeTokens => "DESCRIBE_TOKENS",
        Operation::TwoPhaseCommit => "TWO_PHASE_COMMIT",
    }
}
