//! Releases of Kafka, and the levels of features that they bring: `version-mapping` and `feature-dependencies`.

use rustka_core::cluster::features::{
    ELIGIBLE_LEADER_REPLICAS, GROUP_VERSION, KRAFT_VERSION, METADATA_VERSION, TRANSACTION_VERSION,
};

/// Share groups (KIP-932) and streams groups (KIP-1071), which are Kafka's alone so far.
const SHARE_VERSION: &str = "share.version";
const STREAMS_VERSION: &str = "streams.version";

/// The first level of metadata.version that there is.
const FIRST_LEVEL: i16 = 7;
/// The versions of Kafka that changed the metadata's records, from that level on.
const VERSIONS: [&str; 27] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
    "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0",
    "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
    "4.4-IV0", "4.4-IV1", "4.4-IV2",
];

/// A feature, and its levels from 1 on, each as the level of metadata.version with which clusters begin to have it.
struct Feature {
    name: &'static str,
    since: &'static [i16],
    /// How many of its levels there are beside 0.
    max: i16,
    /// The least level of metadata.version that it works with at all, if that matters.
    needs: Option<i16>,
}

/// The features in the order in which Kafka lists them.
const FEATURES: [Feature; 6] = [
    Feature {
        name: KRAFT_VERSION,
        since: &[21],
        max: 1,
        needs: None,
    },
    Feature {
        name: TRANSACTION_VERSION,
        since: &[24, 24],
        max: 2,
        needs: None,
    },
    Feature {
        name: GROUP_VERSION,
        since: &[22],
        max: 1,
        needs: None,
    },
    Feature {
        name: ELIGIBLE_LEADER_REPLICAS,
        since: &[26],
        max: 1,
        needs: Some(23),
    },
    Feature {
        name: SHARE_VERSION,
        since: &[28, 31],
        max: 2,
        needs: None,
    },
    Feature {
        name: STREAMS_VERSION,
        since: &[29],
        max: 1,
        needs: None,
    },
];

/// A release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release(i16);

impl Release {
    /// The newest one.
    pub const NEWEST: Release = Release(FIRST_LEVEL + VERSIONS.len() as i16 - 1);

    /// By its name, such as 4.0 or 4.0-IV1.
    pub fn named(name: &str) -> Result<Release, String> {
        let is_it = |version: &&str| **version == *name || version.split('-').next() == Some(name);
        let at = VERSIONS.iter().rposition(is_it);
        let level = at.and_then(|at| i16::try_from(at).ok());
        let level = level.ok_or_else(|| {
            let (first, last) = (VERSIONS[0], VERSIONS[VERSIONS.len() - 1]);
            format!("{name} is no release with metadata of its own; there are {first} to {last}")
        })?;
        Ok(Release(FIRST_LEVEL + level))
    }

    /// By its level of metadata.version.
    fn at(level: i16) -> Option<Release> {
        let known = FIRST_LEVEL..=Release::NEWEST.0;
        known.contains(&level).then_some(Release(level))
    }

    /// Such as 4.4-IV2.
    pub fn name(self) -> &'static str {
        let at = usize::try_from(self.0 - FIRST_LEVEL).unwrap_or(0);
        VERSIONS.get(at).copied().unwrap_or_default()
    }

    /// Its level of metadata.version.
    pub fn level(self) -> i16 {
        self.0
    }

    /// The levels at which its clusters begin, by name but metadata.version first, those that are off left out; some of them
    /// chosen by whoever formats. Without that of kraft.version, which controllers settle among themselves.
    pub fn levels(self, chosen: &[(String, i16)]) -> Result<Vec<(&'static str, i16)>, String> {
        for (name, level) in chosen {
            check(name, *level)?;
            if name == METADATA_VERSION {
                return Err(format!("give {METADATA_VERSION} by --release-version"));
            }
            if name == KRAFT_VERSION && *level != 0 {
                return Err(format!(
                    "{KRAFT_VERSION} follows from controller.quorum.voters and --standalone"
                ));
            }
        }
        let mut levels = vec![(METADATA_VERSION, self.0)];
        for feature in FEATURES
            .iter()
            .filter(|feature| feature.name != KRAFT_VERSION)
        {
            let chosen = chosen.iter().rev().find(|(name, _)| *name == feature.name);
            let level = chosen.map_or(feature.first_level(self), |(_, level)| *level);
            if let Some(needs) = feature.needs.filter(|needs| level > 0 && self.0 < *needs) {
                return Err(format!(
                    "{}={level} needs {METADATA_VERSION} {needs} or later",
                    feature.name
                ));
            }
            if level > 0 {
                levels.push((feature.name, level));
            }
        }
        levels[1..].sort_unstable();
        Ok(levels)
    }
}

impl Feature {
    fn first_level(&self, release: Release) -> i16 {
        let reached = self
            .since
            .iter()
            .filter(|level| **level <= release.0)
            .count();
        i16::try_from(reached).unwrap_or(self.max)
    }
}

/// A feature's name and level, such as `group.version=1`.
pub fn feature(text: &str) -> Result<(String, i16), String> {
    let parsed = text.split_once('=').and_then(|(name, level)| {
        let level = level.trim().parse().ok()?;
        Some((name.trim().to_owned(), level))
    });
    parsed.ok_or_else(|| format!("a feature is given as NAME=LEVEL, and {text} is not"))
}

fn check(name: &str, level: i16) -> Result<(), String> {
    let max = match FEATURES.iter().find(|feature| feature.name == name) {
        _ if name == METADATA_VERSION => {
            return Release::at(level)
                .map(drop)
                .ok_or(format!("there is no {name} {level}"));
        }
        Some(feature) => feature.max,
        None => {
            let names: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
            return Err(format!("there is no feature {name}: {}", names.join(", ")));
        }
    };
    match (0..=max).contains(&level) {
        true => Ok(()),
        false => Err(format!("{name} has the levels 0 to {max}, and not {level}")),
    }
}

/// Prints the levels of a release, the newest one if none is named.
pub fn print_mapping(name: Option<&str>) -> Result<(), String> {
    let release = name.map_or(Ok(Release::NEWEST), Release::named)?;
    let shown = name.unwrap_or(release.name());
    println!("{METADATA_VERSION}={} ({shown})", release.0);
    for feature in &FEATURES {
        println!("{}={}", feature.name, feature.first_level(release));
    }
    Ok(())
}

/// Prints what levels of features need.
pub fn print_dependencies<'a>(features: impl Iterator<Item = &'a str>) -> Result<(), String> {
    for text in features {
        let (name, level) = feature(text)?;
        check(&name, level)?;
        let shown = match Release::at(level).filter(|_| name == METADATA_VERSION) {
            Some(release) => format!("{name}={level} ({})", release.name()),
            None => format!("{name}={level}"),
        };
        let found = FEATURES.iter().find(|feature| feature.name == name);
        let needs = found
            .and_then(|feature| feature.needs)
            .filter(|_| level > 0);
        match needs.and_then(Release::at) {
            None => println!("{shown} has no dependencies."),
            Some(needed) => {
                println!("{shown} requires:");
                println!("    {METADATA_VERSION}={} ({})", needed.0, needed.name());
            }
        }
    }
    Ok(())
}
