//! Turns schema/**/*.json into crates/wire/src/generated. Writes files; the text is made in the submodules.

mod decode;
mod emit;
mod encode;
mod json;
mod names;
mod schema;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use schema::Message;

/// `codegen` writes the generated files; `codegen --check` fails if they differ from the schemas.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        other => return Err(format!("unknown arguments {other:?}")),
    };
    let root = repository_root()?;
    let messages = load(&root.join("schema"))?;
    let mut files = BTreeMap::new();
    for message in &messages {
        files.insert(format!("{}.rs", message.module()), emit::file(message));
    }
    files.insert("mod.rs".to_owned(), tables::modules(&messages));
    files.insert("apis.rs".to_owned(), tables::apis(&messages)?);
    files.insert("requests.rs".to_owned(), tables::requests(&messages)?);
    files.insert("registry.rs".to_owned(), tables::registry(&messages));

    let scratch = root.join("target").join("codegen");
    write_formatted(&scratch, &files)?;
    let target = root.join("crates/wire/src/generated");
    let (fresh, current) = (read_all(&scratch)?, read_all(&target)?);
    if check {
        let stale: Vec<_> = fresh
            .keys()
            .chain(current.keys())
            .filter(|name| fresh.get(*name) != current.get(*name))
            .collect();
        return match stale.first() {
            None => Ok(()),
            Some(first) => Err(format!(
                "generated code is stale ({first}, …): run `cargo xtask codegen`"
            )),
        };
    }
    fs::create_dir_all(&target).map_err(|e| e.to_string())?;
    for name in current.keys().filter(|name| !fresh.contains_key(*name)) {
        fs::remove_file(target.join(name)).map_err(|e| e.to_string())?;
    }
    for (name, text) in &fresh {
        if current.get(name) != Some(text) {
            fs::write(target.join(name), text).map_err(|e| e.to_string())?;
        }
    }
    println!("{} messages", messages.len());
    Ok(())
}

fn repository_root() -> Result<PathBuf, String> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| "xtask has no parent directory".to_owned())
}

fn load(directory: &Path) -> Result<Vec<Message>, String> {
    let mut paths = Vec::new();
    collect(directory, &mut paths)?;
    let mut messages = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        messages.push(schema::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?);
    }
    messages.sort_by(|a, b| a.name.cmp(&b.name));
    for pair in messages.windows(2) {
        if pair[0].name == pair[1].name {
            return Err(format!("two schemas are named {}", pair[0].name));
        }
    }
    Ok(messages)
}

fn collect(directory: &Path, out: &mut Vec<PathBuf>) -> Result<(), String> {
    for entry in fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() {
            collect(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "json") {
            out.push(path);
        }
    }
    Ok(())
}

fn write_formatted(directory: &Path, files: &BTreeMap<String, String>) -> Result<(), String> {
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(|e| e.to_string())?;
    }
    fs::create_dir_all(directory).map_err(|e| e.to_string())?;
    for (name, text) in files {
        fs::write(directory.join(name), text).map_err(|e| e.to_string())?;
    }
    // rustfmt follows the `mod` lines to every other file.
    let status = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .arg(directory.join("mod.rs"))
        .status()
        .map_err(|e| format!("rustfmt: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("rustfmt refused the generated code".to_owned())
    }
}

fn read_all(directory: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut files = BTreeMap::new();
    if !directory.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(directory).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let text = fs::read_to_string(entry.path()).map_err(|e| e.to_string())?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    Ok(files)
}
