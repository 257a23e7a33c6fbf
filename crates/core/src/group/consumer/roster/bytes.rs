//! What members, what they hold and what their expressions match take in memory, about.

use crate::group::command::Protocol;
use crate::group::consumer::places::Held;
use crate::group::consumer::records::{ClassicMember, Current, Matched, Member};

fn protocols_bytes(protocols: &[Protocol]) -> usize {
    let bytes =
        |protocol: &Protocol| size_of::<Protocol>() + protocol.name.len() + protocol.metadata.len();
    protocols.iter().map(bytes).sum()
}

/// What a member takes beside what it says, with its places in trees.
const MEMBER_BYTES: usize = 500;
/// What a partition takes that somebody holds, with its place among the owners.
const OWNED_BYTES: usize = 100;

impl Member {
    /// What it takes, about.
    pub(in crate::group::consumer) fn bytes(&self) -> usize {
        let topics: usize = self.topics.iter().map(|topic| topic.len() + 40).sum();
        let texts = self.client_id.len() + self.client_host.len() + self.expression.len();
        let classic = self.classic.as_ref();
        let classic_bytes = classic.map_or(0, |classic| {
            size_of::<ClassicMember>() + protocols_bytes(&classic.protocols)
        });
        MEMBER_BYTES + topics + texts + classic_bytes
    }
}

impl Matched {
    /// What it takes, about.
    pub(in crate::group::consumer) fn bytes(&self) -> usize {
        size_of_val(&*self.topics)
    }
}

impl Current {
    /// What it takes, about.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Current>() + self.all().count() * OWNED_BYTES
    }

    /// Everything that others have to wait for.
    pub(in crate::group::consumer) fn all(&self) -> impl Iterator<Item = &Held> {
        self.assigned.iter().chain(&self.revoking)
    }
}
