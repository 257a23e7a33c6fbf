//! What is to be there when the broker has started. It adds and raises; what contradicts what is there is told, and
//! nothing is done.

use super::{Answer, Cluster};
use crate::base::init::{Init, InitTopic, InitUser};
use crate::base::random;
use crate::base::start::StartError;
use rustka_core::cluster::command::{
    AddPartitions, AlterConfigs, Command, ConfigChange, CreateAcl, CreateTopic, CreateTopics, Reply,
};
use rustka_core::cluster::resource::{Resource, ResourceKind};
use rustka_core::config::{AlterOperation, Alteration};
use rustka_core::error::Refusal;
use rustka_core::security::scram::{Credential, Strength};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Topics that one command makes.
const TOPICS_PER_COMMAND: usize = 100;

/// What has to be done.
#[derive(Default)]
struct Plan {
    create: Vec<CreateTopic>,
    grow: Vec<AddPartitions>,
    set: Vec<AlterConfigs>,
    users: Vec<(String, String)>,
}

impl Cluster {
    /// Makes what is not there yet. A sentence names the first thing that cannot be, before anything is changed.
    pub fn complete(self: &Arc<Self>, init: &Init) -> Result<(), StartError> {
        let mut plan = Plan::default();
        for topic in joined(&init.topics)? {
            self.plan_topic(topic, &mut plan)?;
        }
        self.plan_users(&init.users, &mut plan)?;
        for validate_only in [true, false] {
            self.create(&plan.create, validate_only)?;
            self.grow(&plan.grow, validate_only)?;
            for change in &plan.set {
                let name = change.resource.name.clone();
                let change = AlterConfigs {
                    validate_only,
                    ..change.clone()
                };
                let Answer::Now(Reply::AlterConfigs(results)) =
                    self.call(Command::AlterConfigs(vec![change]))
                else {
                    continue;
                };
                for result in results {
                    result.map_err(|refusal| of_topic(&name, &refusal))?;
                }
            }
        }
        self.let_in(&plan.users)?;
        self.allow(init)
    }

    fn plan_topic(&self, topic: InitTopic, plan: &mut Plan) -> Result<(), StartError> {
        let Some(there) = self.node.topics.by_name(&topic.name) else {
            let partitions = topic.partitions.map_or(-1, number);
            let configs = topic.configs.into_iter();
            plan.create.push(CreateTopic {
                partitions,
                configs: configs.map(|(key, value)| (key, Some(value))).collect(),
                ..CreateTopic::by_default(topic.name, random::uuid())
            });
            return Ok(());
        };
        let (now, asked) = (there.partitions.len(), topic.partitions.unwrap_or(0));
        if asked as usize > now {
            plan.grow.push(AddPartitions {
                name: topic.name.clone(),
                count: number(asked),
                assignments: None,
            });
        }
        let config = there.config.now();
        let mut changes = Vec::new();
        for (key, value) in topic.configs {
            match config.overrides.get(&key) {
                Some(there) if *there == *value => {}
                Some(there) => {
                    let why = format!("its {key} is '{there}', and not '{value}'");
                    return Err(contradiction(&topic.name, &why));
                }
                None => changes.push(Alteration {
                    name: key,
                    operation: AlterOperation::Set,
                    value: Some(value),
                }),
            }
        }
        if !changes.is_empty() {
            plan.set.push(AlterConfigs {
                resource: Resource {
                    kind: ResourceKind::Topic,
                    name: topic.name.as_str().into(),
                },
                change: ConfigChange::Alter(changes),
                validate_only: false,
            });
        }
        Ok(())
    }

    fn plan_users(&self, users: &[InitUser], plan: &mut Plan) -> Result<(), StartError> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for InitUser { name, password } in users {
            match seen.insert(name, password) {
                Some(before) if before != password => {
                    let why = format!("user {} is there with two passwords", name.escape_debug());
                    return Err(StartError::contradiction(why));
                }
                Some(_) => continue,
                None => {}
            }
            let mut is_there = false;
            for strength in Strength::ALL {
                let Some(known) = self.node.security.credential(strength, name) else {
                    continue;
                };
                is_there = true;
                let same =
                    Credential::of_password(strength, password, &known.salt, known.iterations);
                if same.stored_key != known.stored_key {
                    let name = name.escape_debug();
                    let why = format!("user {name} is there with another password");
                    return Err(StartError::contradiction(why));
                }
            }
            if !is_there {
                plan.users.push((name.clone(), password.clone()));
            }
        }
        Ok(())
    }

    fn create(
        self: &Arc<Self>,
        topics: &[CreateTopic],
        validate_only: bool,
    ) -> Result<(), StartError> {
        for topics in topics.chunks(TOPICS_PER_COMMAND) {
            let command = CreateTopics {
                topics: topics.to_vec(),
                validate_only,
            };
            let answer = self.call(Command::CreateTopics(command));
            // Where writing takes time, they may come a moment later; what was refused is told now.
            let Answer::Now(Reply::CreateTopics(outcomes)) = answer else {
                continue;
            };
            let outcomes = outcomes.map_err(|refusal| StartError::contradiction(told(&refusal)))?;
            for outcome in outcomes {
                let result = outcome.result;
                result.map_err(|refusal| of_topic(&outcome.name, &refusal))?;
            }
        }
        Ok(())
    }

    fn grow(
        self: &Arc<Self>,
        topics: &[AddPartitions],
        validate_only: bool,
    ) -> Result<(), StartError> {
        for topics in topics.chunks(TOPICS_PER_COMMAND) {
            let command = Command::CreatePartitions {
                topics: topics.to_vec(),
                validate_only,
            };
            let Answer::Now(Reply::CreatePartitions(outcomes)) = self.call(command) else {
                continue;
            };
            for outcome in outcomes {
                let result = outcome.result;
                result.map_err(|refusal| of_topic(&outcome.name, &refusal))?;
            }
        }
        Ok(())
    }

    /// Adds ACLs; one that is there stays there once.
    fn allow(self: &Arc<Self>, init: &Init) -> Result<(), StartError> {
        let acls = init.acls.iter().map(|acl| CreateAcl {
            id: random::uuid(),
            acl: Ok(acl.clone()),
        });
        let acls: Vec<_> = acls.collect();
        if acls.is_empty() {
            return Ok(());
        }
        let Answer::Now(Reply::CreateAcls(results)) = self.call(Command::CreateAcls(acls)) else {
            return Ok(());
        };
        for (acl, result) in init.acls.iter().zip(results) {
            result.map_err(|refusal| {
                let (principal, name) = (acl.principal.escape_debug(), acl.name.escape_debug());
                let why = told(&refusal);
                let sentence = format!("the ACL of {principal} on {name} cannot be made: {why}");
                StartError::contradiction(sentence)
            })?;
        }
        Ok(())
    }
}

/// Each topic once. What is asked for twice has to be the same.
fn joined(topics: &[InitTopic]) -> Result<Vec<InitTopic>, StartError> {
    let mut by_name: BTreeMap<&str, InitTopic> = BTreeMap::new();
    for topic in topics {
        let Some(before) = by_name.get_mut(topic.name.as_str()) else {
            by_name.insert(&topic.name, topic.clone());
            continue;
        };
        before.partitions = before.partitions.max(topic.partitions);
        let known: BTreeSet<_> = before.configs.iter().cloned().collect();
        for (key, value) in &topic.configs {
            if known.contains(&(key.clone(), value.clone())) {
                continue;
            }
            if known.iter().any(|(other, _)| other == key) {
                let why = format!("it is there twice, with two values of {key}");
                return Err(contradiction(&topic.name, &why));
            }
            before.configs.push((key.clone(), value.clone()));
        }
    }
    Ok(by_name.into_values().collect())
}

fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn told(refusal: &Refusal) -> String {
    match &refusal.message {
        Some(message) => message.clone().into_owned(),
        None => refusal.code.name().to_owned(),
    }
}

fn of_topic(name: &str, refusal: &Refusal) -> StartError {
    contradiction(name, &told(refusal))
}

fn contradiction(topic: &str, why: &str) -> StartError {
    let topic = topic.escape_debug();
    StartError::contradiction(format!("topic {topic} cannot be as asked for: {why}"))
}
