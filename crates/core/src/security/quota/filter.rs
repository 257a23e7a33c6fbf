//! DescribeClientQuotas: which entities are meant.

use std::collections::BTreeMap;

use super::{Part, QuotaEntity};
use crate::error::{ErrorCode, Refusal};

/// One component of a filter as a request has it.
#[derive(Clone, Copy, Debug)]
pub struct RawComponent<'a> {
    /// The kind of part.
    pub part: &'a str,
    /// 0 for the very name, 1 for the default, 2 for any, the default included.
    pub match_type: i8,
    /// The name.
    pub name: Option<&'a str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Match<'a> {
    Name(&'a str),
    Default,
    Any,
}

/// Which entities are meant: those with all of these parts.
#[derive(Debug)]
pub struct QuotaFilter<'a> {
    parts: BTreeMap<Part, Match<'a>>,
    strict: bool,
}

impl<'a> QuotaFilter<'a> {
    /// Reads a filter; a strict one means entities without any other part.
    pub fn of(components: &[RawComponent<'a>], strict: bool) -> Result<QuotaFilter<'a>, Refusal> {
        let mut parts = BTreeMap::new();
        for component in components {
            let RawComponent { part, name, .. } = *component;
            if part.is_empty() {
                return Err(wrong("Invalid empty entity type."));
            }
            let known = Part::named(part).ok_or_else(|| {
                let why = format!("Unsupported entity type {part}");
                Refusal::new(ErrorCode::UnsupportedVersion, why)
            })?;
            let wanted = match (component.match_type, name) {
                (0, Some(name)) => Match::Name(name),
                (0, None) => return Err(wrong("the very name is asked for, but there is none")),
                (1, None) => Match::Default,
                (2, None) => Match::Any,
                (1 | 2, Some(_)) => {
                    return Err(wrong(
                        "there is a name, but any or the default is asked for",
                    ));
                }
                (other, _) => return Err(wrong(format!("Unknown match type {other}"))),
            };
            if parts.insert(known, wanted).is_some() {
                let why = format!("Entity type {part} cannot appear more than once in the filter.");
                return Err(wrong(why));
            }
        }
        if parts.contains_key(&Part::Ip) && parts.len() > 1 {
            return Err(wrong(
                "An ip cannot be combined with a user or a client-id: no entity has both",
            ));
        }
        Ok(QuotaFilter { parts, strict })
    }

    /// Whether an entity is meant. A strict filter without parts means none.
    pub fn fits(&self, entity: &QuotaEntity) -> bool {
        if self.strict && entity.part_count() != self.parts.len() {
            return false;
        }
        self.parts.iter().all(|(part, wanted)| {
            entity.part(*part).is_some_and(|name| match wanted {
                Match::Name(wanted) => name.get() == Some(wanted),
                Match::Default => name.get().is_none(),
                Match::Any => true,
            })
        })
    }
}

fn wrong(why: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, why.into())
}
