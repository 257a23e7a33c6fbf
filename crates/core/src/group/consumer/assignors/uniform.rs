//! uniform: as many partitions for one member as for the other, or one more, and no partition moves that need not.

mod mixed;

use super::Wishes;
use crate::group::consumer::places::{Place, Places, in_order};
use std::collections::BTreeSet;

/// Starts from what members should have had so far.
pub(super) fn assign(group: &Wishes) -> Vec<Places> {
    match group.is_homogeneous() {
        true => all_alike(group),
        false => mixed::assign(group),
    }
}

/// All members want the same topics. The last ones get one more where it does not come out even, unless those before
/// them have it already.
fn all_alike(group: &Wishes) -> Vec<Places> {
    let wanted = &group.members[0].topics;
    let had: BTreeSet<Place> = group
        .members
        .iter()
        .flat_map(|it| it.target)
        .copied()
        .collect();
    let places = wanted
        .iter()
        .flat_map(|topic| group.topics[*topic].places());
    let places: Vec<Place> = places.collect();
    let mut free: Vec<Place> = places
        .iter()
        .copied()
        .filter(|place| !had.contains(place))
        .collect();
    let members = group.members.len();
    let least = places.len() / members;
    let mut extras = places.len() % members;
    let mut shares: Vec<Vec<Place>> = Vec::with_capacity(members);
    let mut short: Vec<(usize, usize)> = Vec::new();
    for (at, member) in group.members.iter().enumerate() {
        let has_extra = extras > 0;
        let mut room = least + usize::from(has_extra);
        let mut share = Vec::with_capacity(room);
        for topic in member
            .target
            .chunk_by(|one, other| one.topic == other.topic)
        {
            let wanted = topic.iter().filter(|place| {
                let known = group.topic_of(**place);
                known.is_some_and(|known| wanted.contains(&known))
            });
            for place in wanted {
                match room {
                    0 => free.push(*place),
                    _ => {
                        room -= 1;
                        share.push(*place);
                    }
                }
            }
        }
        // There are others for the extra one, and this member does not have it yet.
        let leaves_extra = has_extra && room > 0 && members - at > extras;
        if leaves_extra {
            room -= 1;
        }
        if room > 0 {
            short.push((at, room));
        }
        extras -= usize::from(has_extra && !leaves_extra);
        shares.push(share);
    }
    let mut free = free.into_iter();
    for (at, room) in short {
        shares[at].extend(free.by_ref().take(room));
    }
    shares.into_iter().map(in_order).collect()
}
