//! `rustka acl`: who may do what.

use clap::{Args, Subcommand};
use rustka_client::Client;
use rustka_wire::create_acls_request::AclCreation;
use rustka_wire::delete_acls_request::DeleteAclsFilter;
use rustka_wire::describe_acls_request::DescribeAclsRequest;

use super::acl_words::{self, Resource};
use super::failure::Failure;
use super::output::{Output, Table};

/// Kafka's numbers of what an ACL does.
const DENY: i8 = 2;
const ALLOW: i8 = 3;

/// What to do with ACLs.
#[derive(Subcommand)]
pub enum AclCommand {
    /// All ACLs, or those about one thing.
    List {
        #[command(flatten)]
        about: About,
        /// Only those of this principal, such as User:alice.
        #[arg(long)]
        principal: Option<String>,
    },
    /// Let somebody do something.
    Allow(Line),
    /// Forbid somebody something, whatever else allows it.
    Deny(Line),
    /// Take ACLs away again: all that fit.
    Remove(Line),
}

/// What ACLs are about.
#[derive(Args)]
#[group(multiple = false)]
pub struct About {
    /// A topic.
    #[arg(short, long)]
    topic: Option<String>,
    /// A group.
    #[arg(short, long)]
    group: Option<String>,
    /// A transactional id.
    #[arg(long)]
    transactional_id: Option<String>,
    /// The cluster itself.
    #[arg(long)]
    cluster: bool,
}

/// Who, what, and on what.
#[derive(Args)]
pub struct Line {
    /// Who: User:alice, or User:* for everybody.
    principal: String,
    /// What: read, write, create, delete, alter, describe, describe-configs, alter-configs, idempotent-write, all …
    #[arg(required = true, value_parser = operation)]
    operations: Vec<i8>,
    #[command(flatten)]
    about: About,
    /// All names that begin with the one given.
    #[arg(long)]
    prefix: bool,
    /// Only from this address.
    #[arg(long, default_value = "*")]
    host: String,
}

fn operation(text: &str) -> Result<i8, String> {
    acl_words::operation(text)
        .ok_or_else(|| format!("{text} is no operation: read, write, create, delete, alter, describe, cluster-action, describe-configs, alter-configs, idempotent-write, create-tokens, describe-tokens, two-phase-commit or all"))
}

impl About {
    /// The resource that is named, if one is.
    fn resource(&self, is_prefix: bool) -> Option<Resource> {
        let named = [
            ("topic", self.topic.as_deref()),
            ("group", self.group.as_deref()),
            ("transactional-id", self.transactional_id.as_deref()),
            ("cluster", self.cluster.then_some("kafka-cluster")),
        ];
        let (kind, name) = named
            .into_iter()
            .find_map(|(kind, name)| Some((kind, name?)))?;
        let pattern = if is_prefix { "prefixed" } else { "literal" };
        Some(Resource {
            kind: acl_words::kind(kind)?,
            name: name.to_owned(),
            pattern: acl_words::pattern(pattern)?,
        })
    }
}

/// Does what is to be done with ACLs.
pub async fn run(client: &Client, command: AclCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        AclCommand::List { about, principal } => list(client, &about, principal, output).await,
        AclCommand::Allow(line) => add(client, &line, ALLOW, output).await,
        AclCommand::Deny(line) => add(client, &line, DENY, output).await,
        AclCommand::Remove(line) => remove(client, &line, output).await,
    }
}

fn resource_of(line: &Line) -> Result<Resource, Failure> {
    if !line.principal.contains(':') {
        return Err(Failure::Usage(format!(
            "{0} is no principal: say User:{0}",
            line.principal
        )));
    }
    line.about.resource(line.prefix).ok_or_else(|| {
        Failure::Usage("say on what: --topic, --group, --transactional-id or --cluster".to_owned())
    })
}

async fn add(
    client: &Client,
    line: &Line,
    permission_type: i8,
    output: &mut Output,
) -> Result<(), Failure> {
    let resource = resource_of(line)?;
    let creations = line.operations.iter().map(|&operation| AclCreation {
        resource_type: resource.kind,
        resource_name: resource.name.as_str().into(),
        resource_pattern_type: resource.pattern,
        principal: line.principal.as_str().into(),
        host: line.host.as_str().into(),
        operation,
        permission_type,
    });
    client.create_acls(creations.collect()).await?;
    output.done(&format!("{} ACLs made", line.operations.len()))
}

async fn remove(client: &Client, line: &Line, output: &mut Output) -> Result<(), Failure> {
    let resource = resource_of(line)?;
    let filters = line.operations.iter().map(|&operation| DeleteAclsFilter {
        resource_type_filter: resource.kind,
        resource_name_filter: Some(resource.name.as_str().into()),
        pattern_type_filter: resource.pattern,
        principal_filter: Some(line.principal.as_str().into()),
        host_filter: Some(line.host.as_str().into()),
        operation,
        permission_type: acl_words::ANY,
    });
    let gone = client.delete_acls(filters.collect()).await?;
    output.done(&format!("{} ACLs removed", gone.len()))
}

async fn list(
    client: &Client,
    about: &About,
    principal: Option<String>,
    output: &mut Output,
) -> Result<(), Failure> {
    let resource = about.resource(false);
    let matching = acl_words::pattern("match").unwrap_or(acl_words::ANY);
    let filter = DescribeAclsRequest {
        resource_type_filter: resource.as_ref().map_or(acl_words::ANY, |one| one.kind),
        resource_name_filter: resource.as_ref().map(|one| one.name.as_str().into()),
        // Whatever holds for the name, prefixes and * included.
        pattern_type_filter: resource.as_ref().map_or(acl_words::ANY, |_| matching),
        principal_filter: principal.map(Into::into),
        host_filter: None,
        operation: acl_words::ANY,
        permission_type: acl_words::ANY,
    };
    let mut table = Table::new(&[
        "resource",
        "name",
        "pattern",
        "principal",
        "host",
        "operation",
        "permission",
    ]);
    let mut found = client.describe_acls(&filter).await?;
    found.sort_by(|a, b| {
        (a.resource_type, &a.resource_name).cmp(&(b.resource_type, &b.resource_name))
    });
    for resource in found {
        for acl in resource.acls {
            table.push(vec![
                acl_words::kind_word(resource.resource_type).into(),
                resource.resource_name.to_string().into(),
                acl_words::pattern_word(resource.pattern_type).into(),
                acl.principal.into_owned().into(),
                acl.host.into_owned().into(),
                acl_words::operation_word(acl.operation).into(),
                if acl.permission_type == DENY {
                    "deny"
                } else {
                    "allow"
                }
                .into(),
            ]);
        }
    }
    output.table(table)
}
