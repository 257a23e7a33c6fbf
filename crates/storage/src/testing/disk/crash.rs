//! What is left of a simulated disk when the power goes: all that was synced, and of the rest whatever a file system
//! may have written by then.

use super::{Change, Content, Effect, Node, Operation};
use crate::testing::Random;
use std::collections::BTreeSet;

/// What a disk writes at once, or not at all.
const SECTOR_BYTES: usize = 512;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it is lost.
    Everything,
    /// All of it is there, as after a kill of the process.
    Nothing,
    /// Names are there, and what was written is not.
    Bytes,
    /// What was written is there, and names are not.
    Names,
    /// As chance has it, which this seed repeats: sectors and names of any order, each by itself.
    Some(u64),
}

/// What becomes of changes, one after the other.
struct Lottery {
    loss: Loss,
    random: Random,
    /// So many of a hundred are kept.
    kept_percent: u64,
}

impl Lottery {
    fn new(loss: Loss) -> Lottery {
        let seed = match loss {
            Loss::Some(seed) => seed,
            _ => 0,
        };
        // Seeds that are near each other begin alike.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.draw();
        let kept_percent = [10, 50, 90][random.below(3) as usize];
        Lottery {
            loss,
            random,
            kept_percent,
        }
    }

    fn keeps_by_chance(&mut self) -> bool {
        self.random.below(100) < self.kept_percent
    }

    fn keeps_names(&mut self) -> bool {
        match self.loss {
            Loss::Everything | Loss::Names => false,
            Loss::Nothing | Loss::Bytes => true,
            Loss::Some(_) => self.keeps_by_chance(),
        }
    }

    fn keeps_bytes(&mut self) -> bool {
        match self.loss {
            Loss::Everything | Loss::Bytes => false,
            Loss::Nothing | Loss::Names => true,
            Loss::Some(_) => self.keeps_by_chance(),
        }
    }
}

/// What a disk that held `nodes`, among them all that were made later, holds after these operations and a power cut.
pub(super) fn survivors(
    mut nodes: Vec<Content>,
    operations: &[Operation],
    loss: Loss,
) -> Vec<Content> {
    // Each with whether a sync may still save it.
    let mut pending: Vec<(bool, &Change)> = Vec::new();
    for operation in operations {
        match &operation.effect {
            Effect::Changed(change) => pending.push((true, change)),
            Effect::Synced(node) => {
                let cut = pending.iter().rposition(|(can_be_saved, change)| {
                    let is_cut = matches!(change, Change::Size { bytes: 0, .. });
                    *can_be_saved && is_cut && change.concerns(*node)
                });
                let mut at = 0;
                pending.retain(|(can_be_saved, change)| {
                    at += 1;
                    let concerns = change.concerns(*node);
                    if *can_be_saved && concerns {
                        apply(&mut nodes, change);
                    }
                    // What was given up before all of the file went went with it.
                    let is_gone = concerns && cut.is_some_and(|cut| at <= cut);
                    !(is_gone || *can_be_saved && concerns)
                });
            }
            Effect::GivenUp(node) => {
                let lost = pending
                    .iter_mut()
                    .filter(|(_, change)| change.concerns(*node));
                lost.for_each(|(can_be_saved, _)| *can_be_saved = false);
            }
            Effect::Nothing => {}
        }
    }
    let mut lottery = Lottery::new(loss);
    let mut lost_names = BTreeSet::new();
    for (_, change) in pending {
        match change {
            Change::Names(names) => {
                // What a name meant later is not there without what it meant before.
                let follows_lost = names
                    .iter()
                    .any(|(folder, name, _)| lost_names.contains(&(*folder, name)));
                if follows_lost || !lottery.keeps_names() {
                    lost_names.extend(names.iter().map(|(folder, name, _)| (*folder, name)));
                } else {
                    apply(&mut nodes, change);
                }
            }
            Change::Size { .. } => {
                if lottery.keeps_bytes() {
                    apply(&mut nodes, change);
                }
            }
            Change::Bytes { file, at, bytes } => {
                write_sectors(&mut nodes, *file, *at, bytes, &mut lottery);
            }
        }
    }
    nodes
}

/// Keeps some sectors of a write.
fn write_sectors(
    nodes: &mut [Content],
    file: Node,
    mut at: u64,
    bytes: &[u8],
    lottery: &mut Lottery,
) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let to_end = SECTOR_BYTES - (at % SECTOR_BYTES as u64) as usize;
        let (sector, behind) = rest.split_at(to_end.min(rest.len()));
        if lottery.keeps_bytes() {
            let bytes = sector.to_vec();
            apply(nodes, &Change::Bytes { file, at, bytes });
        }
        at += sector.len() as u64;
        rest = behind;
    }
}

/// Makes a change.
pub(super) fn apply(nodes: &mut [Content], change: &Change) {
    match change {
        Change::Names(names) => {
            for (folder, name, meaning) in names {
                let Content::Folder(entries) = &mut nodes[*folder] else {
                    continue;
                };
                match meaning {
                    Some(meaning) => drop(entries.insert(name.clone(), *meaning)),
                    None => drop(entries.remove(name)),
                }
            }
        }
        Change::Bytes { file, at, bytes } => {
            if let Content::File(content) = &mut nodes[*file] {
                let (from, to) = (*at as usize, *at as usize + bytes.len());
                // What lies between is empty, as in a file with a hole.
                content.resize(content.len().max(to), 0);
                content[from..to].copy_from_slice(bytes);
            }
        }
        Change::Size { file, bytes } => {
            if let Content::File(content) = &mut nodes[*file] {
                content.resize(*bytes as usize, 0);
            }
        }
    }
}
