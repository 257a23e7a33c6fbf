//! Room for what is new: groups that nobody uses give way, and member ids that nobody has come back with.

use std::collections::BTreeMap;

use super::classic::GROUP_BYTES;
use super::command::{CommitPartition, Join, Name, OffsetCommit};
use super::committed::Offsets;
use super::desk::Desk;
use super::existing;
use super::kinds::Group;
use super::options::MEMORY_LIMIT;
use crate::account::Share;

/// The option that limits how many groups there may be.
const GROUPS_LIMIT: &str = "rustka.groups.count.max";
/// This part of the groups of no use gives way at a time when there are too many groups.
const GIVE_WAY_DIVISOR: usize = 16;

/// Where the group or the address holds as many unused ids as it may, the oldest give way: one that is not used within
/// moments is of no use to anybody, and whoever comes with it later is told to ask for another.
pub(super) fn make_room_for_id(d: &mut Desk, groups: &mut BTreeMap<Name, Box<Group>>, join: &Join) {
    let ids_max = d.options.pending_per_group_max;
    if let Some(Group::Classic(group)) = existing(groups, &join.group)
        && let Some(oldest) = group.oldest_id_if_full(ids_max)
    {
        group.give_up_id(d, &oldest);
        group.weigh();
    }
    let ids_max = d.options.pending_per_address_max;
    let oldest = d
        .addresses
        .oldest_if_full(&join.client_host, d.shard, ids_max);
    if let Some(oldest) = oldest
        && let Some(Group::Classic(group)) = existing(groups, &oldest.group)
    {
        group.give_up_id(d, &oldest.member_id);
        group.weigh();
    }
}

/// Makes room for one more group with this in it; else says which limit is in the way.
pub(super) fn make_room_for_group(
    d: &mut Desk,
    groups: &mut BTreeMap<Name, Box<Group>>,
    bytes: usize,
) -> Result<(), &'static str> {
    let limit = match d.account.check(Share::Groups, GROUP_BYTES + bytes) {
        _ if groups.len() >= d.options.groups_max => GROUPS_LIMIT,
        Err(_) => MEMORY_LIMIT,
        Ok(()) => return Ok(()),
    };
    some_give_way(d, groups).then_some(()).ok_or(limit)
}

/// The same for what is committed, which takes no room where an offset is replaced.
pub(super) fn make_room_for_commit(
    d: &mut Desk,
    groups: &mut BTreeMap<Name, Box<Group>>,
    commit: &OffsetCommit,
) -> Result<(), &'static str> {
    let topics_bytes = commit.topics.len() * Offsets::bytes_of_topic();
    let partitions = commit.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| (&topic.topic, partition))
    });
    let bytes_of = |(_, new): (&Name, &CommitPartition)| Offsets::bytes_of(new);
    let offsets_bytes: usize = partitions.clone().map(bytes_of).sum();
    let bytes = topics_bytes + offsets_bytes;
    let Some(group) = existing(groups, &commit.group) else {
        return make_room_for_group(d, groups, bytes + commit.group.len());
    };
    let has_room = |bytes| d.account.check(Share::Groups, bytes).is_ok();
    if has_room(bytes) {
        return Ok(());
    }
    // Only where there is no room for all of them it is worth looking which are there already.
    let offsets = &group.durable().offsets;
    let new = partitions.filter(|(topic, at)| offsets.get(topic, at.partition).is_none());
    let new_bytes: usize = new.map(bytes_of).sum();
    let has_room = new_bytes == 0 || has_room(topics_bytes + new_bytes);
    has_room.then_some(()).ok_or(MEMORY_LIMIT)
}

/// The oldest of those groups give way that have no members and hold no offsets; some at a time, as all are looked at.
/// Whether there were any.
fn some_give_way(d: &mut Desk, groups: &mut BTreeMap<Name, Box<Group>>) -> bool {
    let of_no_use = groups.values().filter(|group| group.is_of_no_use());
    let mut of_no_use: Vec<(Option<i64>, Name)> = of_no_use
        .map(|group| (group.state_since_ms(), group.id().clone()))
        .collect();
    of_no_use.sort_unstable();
    let some = of_no_use.len().div_ceil(GIVE_WAY_DIVISOR);
    for (_, id) in of_no_use.into_iter().take(some) {
        if let Some(group) = groups.get_mut(&id) {
            group.holder_mut().delete(d);
        }
    }
    groups.retain(|_, group| !group.is_gone());
    some > 0
}
