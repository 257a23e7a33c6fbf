//! UpdateFeatures: levels of features, each of them between what this broker can do (KIP-584, KIP-778).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::command::{Direction, UpdateFeature};
use super::records::Record;
use super::{Cluster, Effects};
use crate::error::{ErrorCode, Refusal};

/// Replicas that may lead although they are not in sync (KIP-966). On one node none ever has to.
pub const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";
/// Whether there are consumer groups of the new protocol (KIP-848).
pub const GROUP_VERSION: &str = "group.version";
/// How controllers agree (KIP-853).
pub const KRAFT_VERSION: &str = "kraft.version";
/// What records of the metadata log may say.
pub const METADATA_VERSION: &str = "metadata.version";
/// The level of it since which partitions are on record with the directories that they lie in.
pub(super) const DIRECTORIES_SINCE: i16 = 17;
/// The level since which users have passwords.
const USERS_SINCE: i16 = 11;
/// The level since which there are delegation tokens.
const TOKENS_SINCE: i16 = 14;
/// The level since which there are eligible leader replicas.
pub(super) const ELIGIBLE_LEADERS_SINCE: i16 = 23;
/// The level of the first Kafka that reads committed offsets with the ids of their topics.
pub const TOPIC_IDS_OF_OFFSETS_SINCE: i16 = 26;

/// How producers end transactions (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// One feature and the levels of it that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureLevels {
    /// Such as `group.version`.
    pub name: &'static str,
    /// The lowest level that this broker can do; 0 if it may be off.
    pub min: i16,
    /// The highest level that it can do.
    pub max: i16,
    /// The level at which a new cluster begins; 0 for off.
    pub first: i16,
    /// Whether the level may be lowered again.
    pub falls: bool,
}

impl Cluster {
    /// Whether the records of this cluster may tell of eligible leader replicas.
    pub(super) fn has_eligible_leaders(&self) -> bool {
        self.is_at_least(ELIGIBLE_LEADERS_SINCE)
    }

    /// Whether users with passwords may be on record.
    pub(super) fn has_users(&self) -> bool {
        self.is_at_least(USERS_SINCE)
    }

    /// Whether delegation tokens may be on record.
    pub(super) fn has_tokens(&self) -> bool {
        self.is_at_least(TOKENS_SINCE)
    }

    fn is_at_least(&self, wanted: i16) -> bool {
        let level = self.features.get(METADATA_VERSION);
        level.is_none_or(|level| *level >= wanted)
    }

    /// Changes levels, one after the other, all or none of them.
    pub(super) fn update_features(
        &mut self,
        updates: &[UpdateFeature],
        validate_only: bool,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let mut levels: BTreeMap<&'static str, i16> = BTreeMap::new();
        for update in updates {
            let known = self.options.features.iter();
            let mut known = known.filter(|feature| feature.name == update.name);
            let feature = known.next();
            let now = match feature.and_then(|feature| levels.get(feature.name)) {
                Some(level) => *level,
                None => self.feature(&update.name),
            };
            let feature = check(update, feature, now).map_err(|why| refused(update, why))?;
            levels.insert(feature.name, update.level);
        }
        if validate_only {
            return Ok(());
        }
        // Also of a level that stays, as in Kafka.
        let records = levels.into_iter().map(|(name, level)| Record::Feature {
            name: Cow::Borrowed(name),
            level,
        });
        let records = records.collect();
        self.write(records, out);
        Ok(())
    }
}

fn check<'f>(
    update: &UpdateFeature,
    feature: Option<&'f FeatureLevels>,
    now: i16,
) -> Result<&'f FeatureLevels, Cow<'static, str>> {
    let direction = update
        .direction
        .ok_or(Cow::Borrowed("the upgrade type is not known"))?;
    match (update.level, feature) {
        (..0, _) => Err("a version cannot be less than 0".into()),
        (0, None) => Err("it is not finalized".into()),
        (_, None) => Err("this broker does not have that feature".into()),
        (level, Some(feature)) if level < feature.min || level > feature.max => {
            Err(format!("this broker can do {} to {}", feature.min, feature.max).into())
        }
        (level, Some(_)) if level < now && direction == Direction::Upgrade => {
            Err("that is a downgrade, which the upgrade type does not allow".into())
        }
        (level, Some(feature)) if level < now && !feature.falls => {
            Err("that is a downgrade, which could lose what the cluster knows".into())
        }
        (level, Some(_)) if level > now && direction != Direction::Upgrade => {
            Err("that is an upgrade, and the upgrade type asks for a downgrade".into())
        }
        (_, Some(feature)) => Ok(feature),
    }
}

fn refused(update: &UpdateFeature, why: Cow<'static, str>) -> Refusal {
    let name: String = update.name.escape_debug().take(200).collect();
    Refusal::new(
        ErrorCode::InvalidUpdateVersion,
        format!(
            "No feature was updated: version {} of feature '{name}' is not possible, {why}.",
            update.level
        ),
    )
}
