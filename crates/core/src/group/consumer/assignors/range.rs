//! range: every topic is cut into pieces of neighbouring partitions, one for each member that wants it. Static members
//! come first, by their instance ids, so that they keep their pieces when they come back under another member id.

use super::Wishes;
use crate::group::consumer::places::{Place, Places, in_order};

/// Computed from nothing each time.
pub(super) fn assign(group: &Wishes) -> Vec<Places> {
    let mut order: Vec<usize> = (0..group.members.len()).collect();
    order.sort_by_key(|at| {
        let member = &group.members[*at];
        (member.instance_id.is_none(), member.instance_id, member.id)
    });
    let mut cuts: Vec<Cut> = group
        .topics
        .iter()
        .map(|topic| Cut::new(topic.partitions))
        .collect();
    for topic in group.members.iter().flat_map(|member| &member.topics) {
        cuts[*topic].members += 1;
    }
    let mut shares = vec![Places::default(); group.members.len()];
    for at in order {
        let mut share = Vec::new();
        for topic in &group.members[at].topics {
            let id = group.topics[*topic].id;
            share.extend(cuts[*topic].next().map(|partition| Place {
                topic: id,
                partition,
            }));
        }
        shares[at] = in_order(share);
    }
    shares
}

/// A topic that is being cut.
struct Cut {
    partitions: i32,
    members: i32,
    served: i32,
    next: i32,
}

impl Cut {
    fn new(partitions: i32) -> Cut {
        Cut {
            partitions,
            members: 0,
            served: 0,
            next: 0,
        }
    }

    /// The next member's piece. The first ones have one partition more where it does not come out even.
    fn next(&mut self) -> std::ops::Range<i32> {
        let extra = i32::from(self.served < self.partitions % self.members);
        let from = self.next;
        self.served += 1;
        self.next = from + self.partitions / self.members + extra;
        from..self.next
    }
}
