//! Where a partition is: its leader, and the nodes that hold it.

use std::sync::{Arc, OnceLock};

use rustka_wire::Uuid;
use rustka_wire::partition_change_record::PartitionChangeRecord;
use rustka_wire::partition_record::PartitionRecord;

/// The leader where there is none.
pub(super) const NO_LEADER: i32 = -1;
/// In a change: the leader stays.
const LEADER_STAYS: i32 = -2;
/// In a change: the recovery state stays.
const RECOVERY_STATE_STAYS: i8 = -1;

/// Where a partition is. Partitions in the same place share what they can.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The node that leads it; -1 for none.
    pub leader: i32,
    /// Grows with every new leader.
    pub leader_epoch: i32,
    /// Grows with every change.
    pub partition_epoch: i32,
    /// Who holds it.
    pub replicas: Arc<Replicas>,
}

/// The nodes that hold a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// All of them.
    pub all: Vec<i32>,
    /// Those that are in step.
    pub in_sync: Vec<i32>,
    /// Those that are about to go.
    pub removing: Vec<i32>,
    /// Those that are about to come.
    pub adding: Vec<i32>,
    /// Where each of `all` keeps it.
    pub directories: Vec<Uuid>,
    /// Who may lead although it is not in step (KIP-966).
    pub eligible: Option<Vec<i32>>,
    /// Who was the last to be eligible.
    pub last_eligible: Option<Vec<i32>>,
    /// 1 while a leader recovers from an unclean election.
    pub recovery_state: i8,
    /// The record of a new partition in this place.
    template: Template,
}

/// Places that partitions share.
#[derive(Debug)]
pub(super) struct Places {
    /// Where new partitions are, and nearly all others.
    here: Arc<Replicas>,
    /// Where the last one was that was elsewhere: the next one is often there, too.
    elsewhere: Arc<Replicas>,
}

impl Places {
    /// Where new partitions are.
    pub fn new(here: Replicas) -> Places {
        let here = Arc::new(here);
        Places {
            elsewhere: Arc::clone(&here),
            here,
        }
    }

    /// Where new partitions are.
    pub fn here(&self) -> &Arc<Replicas> {
        &self.here
    }

    /// Has a partition share its place with others that are there.
    pub fn share(&mut self, place: &mut Place) {
        if place.replicas == self.here {
            place.replicas = Arc::clone(&self.here);
        } else if place.replicas == self.elsewhere {
            place.replicas = Arc::clone(&self.elsewhere);
        } else if place.leader != NO_LEADER {
            // Who is led by nobody is so for a moment only, and not remembered.
            self.elsewhere = Arc::clone(&place.replicas);
        }
    }
}

/// Bytes that are made when they are first needed. They follow from the rest and say nothing of their own.
#[derive(Clone, Debug, Default)]
struct Template(OnceLock<Box<[u8]>>);

impl PartialEq for Template {
    fn eq(&self, _: &Template) -> bool {
        true
    }
}

impl Eq for Template {}

impl Replicas {
    /// One node alone, with everything in this directory.
    pub fn on(node_id: i32, directory: Uuid) -> Replicas {
        Replicas {
            all: vec![node_id],
            in_sync: vec![node_id],
            directories: vec![directory],
            ..Replicas::default()
        }
    }

    /// The record of a new partition here, made once by `make`.
    pub(super) fn template(&self, make: impl FnOnce() -> Box<[u8]>) -> &[u8] {
        self.template.0.get_or_init(make)
    }

    /// As a record says.
    pub(super) fn of(record: PartitionRecord) -> Replicas {
        Replicas {
            all: record.replicas,
            in_sync: record.isr,
            removing: record.removing_replicas,
            adding: record.adding_replicas,
            directories: record.directories,
            eligible: record.eligible_leader_replicas,
            last_eligible: record.last_known_elr,
            recovery_state: record.leader_recovery_state,
            template: Template::default(),
        }
    }
}

impl Place {
    /// A new partition, led by the first of its replicas.
    pub fn new(replicas: &Arc<Replicas>) -> Place {
        Place {
            leader: replicas.all.first().copied().unwrap_or(NO_LEADER),
            leader_epoch: 0,
            partition_epoch: 0,
            replicas: Arc::clone(replicas),
        }
    }

    /// Whether nothing has happened to it yet.
    pub(super) fn is_new(&self) -> bool {
        let first = self.replicas.all.first();
        (self.leader_epoch, self.partition_epoch) == (0, 0) && first == Some(&self.leader)
    }

    /// The record that says all this.
    pub(super) fn record(&self, topic: Uuid, partition: i32) -> PartitionRecord {
        let replicas = &*self.replicas;
        PartitionRecord {
            partition_id: partition,
            topic_id: topic,
            replicas: replicas.all.clone(),
            isr: replicas.in_sync.clone(),
            removing_replicas: replicas.removing.clone(),
            adding_replicas: replicas.adding.clone(),
            leader: self.leader,
            leader_recovery_state: replicas.recovery_state,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: replicas.directories.clone(),
            eligible_leader_replicas: replicas.eligible.clone(),
            last_known_elr: replicas.last_eligible.clone(),
        }
    }

    /// Makes a change true. A leader that is named is new, also if it is the one there was.
    pub(super) fn change(&mut self, change: &PartitionChangeRecord) {
        self.partition_epoch = self.partition_epoch.saturating_add(1);
        if change.leader != LEADER_STAYS {
            self.leader = change.leader;
            self.leader_epoch = self.leader_epoch.saturating_add(1);
        }
        let mut replicas = (*self.replicas).clone();
        replicas.template = Template::default();
        let lists = [
            (&mut replicas.all, &change.replicas),
            (&mut replicas.in_sync, &change.isr),
            (&mut replicas.removing, &change.removing_replicas),
            (&mut replicas.adding, &change.adding_replicas),
        ];
        for (list, changed) in lists {
            if let Some(changed) = changed {
                list.clone_from(changed);
            }
        }
        if let Some(directories) = &change.directories {
            replicas.directories.clone_from(directories);
        }
        if change.eligible_leader_replicas.is_some() {
            replicas
                .eligible
                .clone_from(&change.eligible_leader_replicas);
        }
        if change.last_known_elr.is_some() {
            replicas.last_eligible.clone_from(&change.last_known_elr);
        }
        if change.leader_recovery_state != RECOVERY_STATE_STAYS {
            replicas.recovery_state = change.leader_recovery_state;
        }
        if replicas != *self.replicas {
            self.replicas = Arc::new(replicas);
        }
    }
}
