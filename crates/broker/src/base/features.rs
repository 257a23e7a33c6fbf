//! Features with levels (KIP-584): which there are, between which levels, and at which each of them is. ApiVersions tells
//! this table and UpdateFeatures goes by it.

/// One feature.
pub struct Feature {
    /// Such as `group.version`.
    pub name: &'static str,
    /// Lowest level that this broker can do.
    pub min: i16,
    /// Highest level that it can do.
    pub max: i16,
    /// The level in force, 0 for none.
    pub finalized: i16,
}

/// Every feature, by name. What a level stands for is built before it is told: there is none yet.
pub static FEATURES: &[Feature] = &[];

/// How often levels have changed, -1 for not known: with no feature there is nothing that could.
pub fn epoch() -> i64 {
    match FEATURES {
        [] => -1,
        _ => 0,
    }
}

/// The feature of this name.
pub fn find(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}
