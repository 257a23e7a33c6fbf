//! `kafka-acls`.

use std::io::{BufRead, IsTerminal};

use rustka_client::Client;
use rustka_wire::create_acls_request::AclCreation;
use rustka_wire::delete_acls_request::DeleteAclsFilter;
use rustka_wire::describe_acls_request::DescribeAclsRequest;

use super::options::Given;
use super::options::Takes::{Many, Nothing, One};
use super::tool::{Call, Failed, Outcome, Tool, exception};
use crate::cli::acl_words::{self, Resource};

pub const TOOL: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("add", Nothing),
        ("remove", Nothing),
        ("list", Nothing),
        ("topic", Many),
        ("group", Many),
        ("cluster", Nothing),
        ("transactional-id", Many),
        ("delegation-token", Many),
        ("user-principal", Many),
        ("resource-pattern-type", One),
        ("allow-principal", Many),
        ("deny-principal", Many),
        ("principal", Many),
        ("allow-host", Many),
        ("deny-host", Many),
        ("operation", Many),
        ("producer", Nothing),
        ("consumer", Nothing),
        ("idempotent", Nothing),
        ("force", Nothing),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &["bootstrap-controller"],
    config_options: &["command-config"],
    client_id: None,
    mistake: Failed::Usage,
};

/// Kafka's name of the cluster among resources.
const CLUSTER: &str = "kafka-cluster";

/// What is to be allowed or forbidden on a resource.
type Entries = Vec<(Resource, Vec<Entry>)>;

/// One line of an ACL.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    principal: String,
    host: String,
    operation: i8,
    permission: i8,
}

const DENY: i8 = 2;
const ALLOW: i8 = 3;

pub async fn run(call: &mut Call) -> Outcome {
    let given = &call.given;
    let action = given.action(&["add", "remove", "list"]);
    let action = action.map_err(Failed::Usage)?;
    given.required("bootstrap-server").map_err(Failed::Usage)?;
    let outcome = match action {
        "add" => add(call).await,
        "remove" => remove(call).await,
        _ => list(call).await,
    };
    outcome.map_err(|failed| {
        failed.in_words(|error| {
            let words = exception(error);
            Failed::Told(format!("Error while executing ACL command: {words}"))
        })
    })
}

/// The pattern's number: literal unless the options say otherwise.
fn pattern(given: &Given) -> Outcome<i8> {
    let word = given.one("resource-pattern-type").unwrap_or("literal");
    acl_words::pattern(word).ok_or_else(|| {
        Failed::Usage(format!(
            "Invalid resource-pattern-type: {word}; there are any, match, literal, prefixed"
        ))
    })
}

/// The resources that the options name.
fn resources(given: &Given) -> Outcome<Vec<Resource>> {
    let pattern = pattern(given)?;
    let mut resources = Vec::new();
    for (option, kind) in [
        ("topic", "topic"),
        ("group", "group"),
        ("transactional-id", "transactional-id"),
        ("delegation-token", "delegation-token"),
        ("user-principal", "user"),
    ] {
        let kind = acl_words::kind(kind).unwrap_or_default();
        let names = given.all(option).iter();
        resources.extend(names.map(|name| Resource {
            kind,
            name: name.trim().to_owned(),
            pattern,
        }));
    }
    if given.has("cluster") || given.has("idempotent") {
        resources.push(Resource {
            kind: acl_words::kind("cluster").unwrap_or_default(),
            name: CLUSTER.to_owned(),
            pattern: acl_words::pattern("literal").unwrap_or_default(),
        });
    }
    Ok(resources)
}

/// A line for every principal, host and one of these operations.
fn lines(given: &Given, operations: &[i8]) -> Outcome<Vec<Entry>> {
    let mut entries = Vec::new();
    for (principals, hosts, permission) in [
        ("allow-principal", "allow-host", ALLOW),
        ("deny-principal", "deny-host", DENY),
    ] {
        let any = ["*".to_owned()];
        let hosts = match given.has(hosts) {
            true => given.all(hosts),
            false => &any,
        };
        for principal in given.all(principals) {
            if principal
                .split_once(':')
                .is_none_or(|(kind, _)| kind.is_empty())
            {
                return Err(Failed::Told(format!(
                    "Error while executing ACL command: expected a string in format principalType:principalName but got {principal}"
                )));
            }
            for host in hosts {
                for &operation in operations {
                    entries.push(Entry {
                        principal: principal.clone(),
                        host: host.clone(),
                        operation,
                        permission,
                    });
                }
            }
        }
    }
    Ok(entries)
}

/// What the options come to, by resource.
fn entries(given: &Given) -> Outcome<Entries> {
    let resources = resources(given)?;
    if resources.is_empty() {
        return Err(Failed::Usage(
            "You must specify at least one resource: --topic <topic> or --cluster or --group <group> or --delegation-token <Delegation Token ID>"
                .to_owned(),
        ));
    }
    let operations = |words: &[&str]| -> Outcome<Vec<i8>> {
        let found = words.iter().map(|word| {
            acl_words::operation(word)
                .ok_or_else(|| Failed::Usage(format!("ResourceType has no operation {word}")))
        });
        found.collect()
    };
    let mut all: Entries = Vec::new();
    for resource in resources {
        let of_roles: &[(&str, &str, &[&str])] = &[
            ("producer", "topic", &["write", "describe", "create"]),
            ("producer", "transactional-id", &["write", "describe"]),
            ("idempotent", "cluster", &["idempotent-write"]),
            ("consumer", "topic", &["read", "describe"]),
            ("consumer", "group", &["read"]),
        ];
        let has_role = given.has("producer") || given.has("consumer");
        let mut wanted: Vec<i8> = Vec::new();
        for (role, kind, words) in of_roles {
            if given.has(role) && acl_words::kind(kind) == Some(resource.kind) {
                wanted.extend(operations(words)?);
            }
        }
        if !has_role {
            let words: Vec<&str> = match given.all("operation") {
                [] if wanted.is_empty() => vec!["all"],
                words => words.iter().map(String::as_str).collect(),
            };
            wanted.extend(operations(&words)?);
        }
        wanted.dedup();
        let lines = lines(given, &wanted)?;
        all.push((resource, lines));
    }
    Ok(all)
}

async fn add(call: &mut Call) -> Outcome {
    let given = &call.given;
    if given
        .among(&["allow-principal", "deny-principal"])
        .is_empty()
    {
        return Err(Failed::Usage(
            "You must specify one of: --allow-principal, --deny-principal when trying to add ACLs."
                .to_owned(),
        ));
    }
    let pattern = pattern(given)?;
    if !acl_words::is_concrete(pattern) {
        return Err(Failed::Usage(
            "A '--resource-pattern-type' value of 'Any' or 'Match' is not valid when adding acls."
                .to_owned(),
        ));
    }
    let entries = entries(given)?;
    let client = call.client().await?;
    for (resource, lines) in &entries {
        let mut text = format!("Adding ACLs for resource `{}`: \n", shown(resource));
        for (at, line) in lines.iter().enumerate() {
            let space = if at == 0 { " " } else { "" };
            text.push_str(&format!("{space}\t{}\n", shown_line(line)));
        }
        call.line(&text)?;
    }
    let creations = entries.iter().flat_map(|(resource, lines)| {
        lines.iter().map(|line| AclCreation {
            resource_type: resource.kind,
            resource_name: resource.name.as_str().into(),
            resource_pattern_type: resource.pattern,
            principal: line.principal.as_str().into(),
            host: line.host.as_str().into(),
            operation: line.operation,
            permission_type: line.permission,
        })
    });
    Ok(client.create_acls(creations.collect()).await?)
}

async fn remove(call: &mut Call) -> Outcome {
    let entries = entries_to_remove(&call.given)?;
    let client = call.client().await?;
    for (resource, lines) in &entries {
        let question = match lines.is_empty() {
            true => format!(
                "Are you sure you want to delete all ACLs for resource filter `{}`? (y/n)",
                shown(resource)
            ),
            false => {
                let lines: String = lines
                    .iter()
                    .map(|line| format!("\t{}\n", shown_line(line)))
                    .collect();
                format!(
                    "Are you sure you want to remove ACLs: \n {lines} from resource filter `{}`? (y/n)",
                    shown(resource)
                )
            }
        };
        if !call.given.has("force") && !agrees(call, &question)? {
            return Ok(());
        }
        let filter = |line: Option<&Entry>| DeleteAclsFilter {
            resource_type_filter: resource.kind,
            resource_name_filter: Some(resource.name.clone().into()),
            pattern_type_filter: resource.pattern,
            principal_filter: line.map(|line| line.principal.clone().into()),
            host_filter: line.map(|line| line.host.clone().into()),
            operation: line.map_or(acl_words::ANY, |line| line.operation),
            permission_type: line.map_or(acl_words::ANY, |line| line.permission),
        };
        let filters = match lines.is_empty() {
            true => vec![filter(None)],
            false => lines.iter().map(|line| filter(Some(line))).collect(),
        };
        client.delete_acls(filters).await?;
    }
    Ok(())
}

/// As for adding, but that a resource alone means all of its ACLs.
fn entries_to_remove(given: &Given) -> Outcome<Entries> {
    let principals = ["allow-principal", "deny-principal"];
    if !given.among(&principals).is_empty() {
        return entries(given);
    }
    let resources = resources(given)?;
    if resources.is_empty() {
        return Err(Failed::Usage(
            "You must specify at least one resource to remove ACLs of".to_owned(),
        ));
    }
    Ok(resources
        .into_iter()
        .map(|resource| (resource, Vec::new()))
        .collect())
}

/// Asks whoever sits at the terminal; where nobody does, nothing is removed.
fn agrees(call: &mut Call, question: &str) -> Outcome<bool> {
    call.line(question)?;
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failed::Told(
            "Error while executing ACL command: nobody is at a terminal to be asked; --force asks nobody"
                .to_owned(),
        ));
    }
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.map_err(|error| Failed::Complaint(format!("cannot read the answer: {error}")))?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

async fn list(call: &mut Call) -> Outcome {
    let resources = resources(&call.given)?;
    let client = call.client().await?;
    let principals = call.given.all("principal").to_vec();
    if principals.is_empty() {
        return list_of(&client, call, &resources, None).await;
    }
    for principal in &principals {
        call.line(&format!("ACLs for principal `{principal}`"))?;
        list_of(&client, call, &resources, Some(principal)).await?;
    }
    Ok(())
}

async fn list_of(
    client: &Client,
    call: &mut Call,
    resources: &[Resource],
    principal: Option<&str>,
) -> Outcome {
    let pattern = pattern(&call.given)?;
    let everything = [Resource {
        kind: acl_words::ANY,
        name: String::new(),
        pattern: match call.given.has("resource-pattern-type") {
            true => pattern,
            false => acl_words::ANY,
        },
    }];
    let is_all = resources.is_empty();
    let mut told = Vec::new();
    for resource in if is_all { &everything[..] } else { resources } {
        let filter = DescribeAclsRequest {
            resource_type_filter: resource.kind,
            resource_name_filter: (!is_all).then(|| resource.name.as_str().into()),
            pattern_type_filter: resource.pattern,
            principal_filter: None,
            host_filter: None,
            operation: acl_words::ANY,
            permission_type: acl_words::ANY,
        };
        for found in client.describe_acls(&filter).await? {
            if !told.contains(&found) {
                told.push(found);
            }
        }
    }
    for found in told {
        let resource = Resource {
            kind: found.resource_type,
            name: found.resource_name.into_owned(),
            pattern: found.pattern_type,
        };
        let lines: Vec<String> = found
            .acls
            .into_iter()
            .filter(|acl| principal.is_none_or(|principal| acl.principal == principal))
            .map(|acl| {
                let line = Entry {
                    principal: acl.principal.into_owned(),
                    host: acl.host.into_owned(),
                    operation: acl.operation,
                    permission: acl.permission_type,
                };
                format!("\t{}\n", shown_line(&line))
            })
            .collect();
        if !lines.is_empty() {
            let heading = format!("Current ACLs for resource `{}`:", shown(&resource));
            call.line(&format!("{heading}\n{}", lines.concat()))?;
        }
    }
    Ok(())
}

fn shown(resource: &Resource) -> String {
    let upper = |word: &str| word.to_uppercase().replace('-', "_");
    format!(
        "ResourcePattern(resourceType={}, name={}, patternType={})",
        upper(acl_words::kind_word(resource.kind)),
        resource.name,
        upper(acl_words::pattern_word(resource.pattern))
    )
}

fn shown_line(line: &Entry) -> String {
    let upper = |word: &str| word.to_uppercase().replace('-', "_");
    format!(
        "(principal={}, host={}, operation={}, permissionType={})",
        line.principal,
        line.host,
        upper(acl_words::operation_word(line.operation)),
        if line.permission == DENY {
            "DENY"
        } else {
            "ALLOW"
        }
    )
}
