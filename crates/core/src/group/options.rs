//! How a group shard behaves, and the limits it works under.

/// The option that limits what groups may take in all.
pub const MEMORY_LIMIT: &str = "--memory-limit";

/// Whether groups with members inside may change between the classic protocol and that of KIP-848:
/// `group.consumer.migration.policy`. Groups without members always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Both ways.
    Bidirectional,
    /// To the new protocol alone.
    Upgrade,
    /// Back to the classic one alone.
    Downgrade,
    /// Members of both kinds never meet.
    Disabled,
}

impl MigrationPolicy {
    /// Reads Kafka's name of a policy, whatever its case.
    pub fn named(name: &str) -> Option<MigrationPolicy> {
        let known = [
            ("bidirectional", MigrationPolicy::Bidirectional),
            ("upgrade", MigrationPolicy::Upgrade),
            ("downgrade", MigrationPolicy::Downgrade),
            ("disabled", MigrationPolicy::Disabled),
        ];
        let found = known
            .into_iter()
            .find(|(its, _)| its.eq_ignore_ascii_case(name));
        found.map(|(_, policy)| policy)
    }

    /// Whether a classic group becomes a consumer group when a member of the new protocol comes.
    pub(super) fn upgrades(self) -> bool {
        matches!(
            self,
            MigrationPolicy::Bidirectional | MigrationPolicy::Upgrade
        )
    }

    /// Whether a consumer group becomes a classic one when its last member of the new protocol is gone.
    pub(super) fn downgrades(self) -> bool {
        matches!(
            self,
            MigrationPolicy::Bidirectional | MigrationPolicy::Downgrade
        )
    }
}

/// How a group shard behaves; from the broker's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// Kafka's defaults where ours differ.
    pub strict: bool,
    /// `group.initial.rebalance.delay.ms` if it was set, else `None`.
    pub initial_rebalance_delay_ms: Option<i32>,
    /// `rustka.groups.initial.rebalance.delay.max.ms`: the longest wait counted from the first member.
    pub initial_rebalance_delay_max_ms: i64,
    /// `rustka.groups.pending.rebalance.wait.ms`: how long a member id given out holds up a rebalance.
    pub pending_rebalance_wait_ms: i64,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.max.size`.
    pub group_size_max: usize,
    /// `group.consumer.max.size`.
    pub consumer_size_max: usize,
    /// `group.consumer.migration.policy`.
    pub migration: MigrationPolicy,
    /// `group.consumer.session.timeout.ms`: how long members that are only known from the journal may be silent.
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub expression_refresh_interval_ms: i64,
    /// `rustka.groups.count.max`, this shard's part of it: a new group beyond it is refused.
    pub groups_max: usize,
    /// Members of a group, whatever `group.max.size` says.
    pub members_max: usize,
    /// Bytes of one member's subscriptions, or of its share.
    pub member_metadata_bytes_max: usize,
    /// Bytes of a group's members together.
    pub group_bytes_max: usize,
    /// Member ids given out in one group whose owners have not joined.
    pub pending_per_group_max: usize,
    /// Member ids given out to one address whose owners have not joined.
    pub pending_per_address_max: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
}

impl Default for GroupOptions {
    fn default() -> Self {
        GroupOptions {
            strict: false,
            initial_rebalance_delay_ms: None,
            initial_rebalance_delay_max_ms: 500,
            pending_rebalance_wait_ms: 1_000,
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            group_size_max: i32::MAX as usize,
            consumer_size_max: i32::MAX as usize,
            migration: MigrationPolicy::Bidirectional,
            consumer_session_timeout_ms: 45_000,
            expression_refresh_interval_ms: 600_000,
            groups_max: 200_000,
            members_max: 10_000,
            member_metadata_bytes_max: 1 << 20,
            group_bytes_max: 64 << 20,
            pending_per_group_max: 10_000,
            pending_per_address_max: 20_000,
            offset_metadata_bytes_max: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}

/// How long a rebalance of a group without members waits for company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InitialDelay {
    /// Kafka's rule: a fixed delay, again and again while members arrive during it.
    Fixed { delay_ms: i64 },
    /// Until no member has arrived for a while, but not for long.
    Quiet { quiet_ms: i64, total_ms: i64 },
}

const KAFKA_INITIAL_DELAY_MS: i64 = 3_000;
const QUIET_MS: i64 = 100;

impl GroupOptions {
    pub(super) fn initial_delay(&self) -> InitialDelay {
        match (self.initial_rebalance_delay_ms, self.strict) {
            (Some(set), _) => InitialDelay::Fixed {
                delay_ms: i64::from(set.max(0)),
            },
            (None, true) => InitialDelay::Fixed {
                delay_ms: KAFKA_INITIAL_DELAY_MS,
            },
            (None, false) => InitialDelay::Quiet {
                quiet_ms: QUIET_MS,
                total_ms: self.initial_rebalance_delay_max_ms.max(0),
            },
        }
    }

    pub(super) fn size_max(&self) -> usize {
        self.group_size_max.min(self.members_max)
    }
}
