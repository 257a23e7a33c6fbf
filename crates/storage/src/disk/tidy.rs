//! What an earlier life has left half done in a partition's folder is finished, or taken away.

use super::files::{Files, Listed, Mode, TEMPORARY, remove_if_there};
use super::folder::{DELETED, Folder, Kind, base_of};
use super::seek::Headers;
use std::collections::BTreeMap;
use std::io;

/// What compaction has not finished.
pub(super) const CLEANED: &str = ".cleaned";
/// What compaction has finished, and not put in its place.
pub(super) const SWAP: &str = ".swap";

/// What is left.
pub(super) struct Tidied {
    pub listed: Vec<Listed>,
    /// Something was under way when that life ended.
    pub was_busy: bool,
}

/// Finishes what compaction had decided, and removes what is of no use.
pub(super) fn tidy(files: &dyn Files, folder: &Folder) -> io::Result<Tidied> {
    let listed = folder.list()?;
    let is_no_file = |entry: &&Listed| entry.is_folder && base_of(&entry.name, Kind::Log).is_some();
    if let Some(entry) = listed.iter().find(is_no_file) {
        let why = format!("{} cannot be read as a file", entry.name);
        return Err(io::Error::other(why));
    }
    let ends_with = |entry: &&Listed, suffixes: &[&str]| {
        !entry.is_folder && suffixes.iter().any(|suffix| entry.name.ends_with(suffix))
    };
    let mut changed = false;
    for entry in listed
        .iter()
        .filter(|entry| ends_with(entry, &[DELETED, CLEANED, TEMPORARY]))
    {
        files.remove_file(&folder.at(&entry.name))?;
        changed = true;
    }
    let mut was_busy = false;
    for entry in listed.iter().filter(|entry| ends_with(entry, &[SWAP])) {
        was_busy = true;
        let name = entry.name.trim_end_matches(SWAP);
        match base_of(name, Kind::Log) {
            Some(base_offset) => put_in_place(files, folder, &listed, entry, base_offset)?,
            // Indexes are made anew.
            None => remove_if_there(files, &folder.at(&entry.name))?,
        }
    }
    let listed = match changed || was_busy {
        true => {
            files.sync_folder(&folder.path())?;
            folder.list()?
        }
        false => listed,
    };
    Ok(Tidied { listed, was_busy })
}

/// Puts a compacted segment in the place of those that it holds what is left of.
fn put_in_place(
    files: &dyn Files,
    folder: &Folder,
    listed: &[Listed],
    swap: &Listed,
    base_offset: i64,
) -> io::Result<()> {
    let end = end_of(files, folder, swap)?.max(base_offset.saturating_add(1));
    for old in by_base(listed, Kind::Log).into_keys() {
        if !(base_offset..end).contains(&old) {
            continue;
        }
        for kind in Kind::ALL {
            let stays = kind == Kind::Snapshot && old == base_offset;
            let replaced = kind == Kind::Log && old == base_offset;
            if !stays && !replaced {
                remove_if_there(files, &folder.at(&kind.name(old)))?;
            }
        }
    }
    files.rename(
        &folder.at(&swap.name),
        &folder.at(&Kind::Log.name(base_offset)),
    )
}

/// Where the last batch of a segment ends.
fn end_of(files: &dyn Files, folder: &Folder, listed: &Listed) -> io::Result<i64> {
    let log = files.open(&folder.at(&listed.name), Mode::Read)?;
    let mut headers = Headers::new(&*log, 0, log.bytes()?);
    let mut end = i64::MIN;
    loop {
        match headers.next() {
            Ok(Some((_, header))) => {
                end = header
                    .last_offset()
                    .map_or(end, |last| last.saturating_add(1));
            }
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            // Whatever is damaged in it is found when it is opened.
            Ok(None) | Err(_) => return Ok(end),
        }
    }
}

/// The files of one kind by their base offsets.
pub(super) fn by_base(listed: &[Listed], kind: Kind) -> BTreeMap<i64, &Listed> {
    let files = listed.iter().filter(|entry| !entry.is_folder);
    files
        .filter_map(|entry| Some((base_of(&entry.name, kind)?, entry)))
        .collect()
}
