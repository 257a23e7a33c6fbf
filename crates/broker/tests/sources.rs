//! What holds for the sources themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below `folder` that ends in `.rs`, with its text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                all.push((path, text));
            }
        }
    }
    assert!(!all.is_empty(), "{}", folder.display());
    all
}

/// Fails unless every test that a chapter of a document names is there; says how many there are.
fn tests_named(document: &str, chapter: &str) -> usize {
    let text = fs::read_to_string(root().join(document)).expect("the document");
    let (_, list) = text.split_once(chapter).expect("the chapter");
    let sources = sources(&root().join("crates"));
    let mut tests = 0;
    for row in list.lines().filter(|line| line.starts_with('|')) {
        for name in row.split('`').skip(1).step_by(2).filter(is_test) {
            let test = format!("fn {name}()");
            let found = sources.iter().any(|(_, text)| text.contains(&test));
            assert!(found, "no test is called {name}");
            tests += 1;
        }
    }
    tests
}

/// A config is quoted as well, and has dots.
fn is_test(name: &&str) -> bool {
    !name.contains('.')
}

/// Guards were shown by inputs that nobody could name: fuzz/README.md lists them, and each has the test that trips it.
#[test]
fn every_guard_of_the_list_has_its_test() {
    let tests = tests_named("fuzz/README.md", "## Guards");
    assert!(tests > 20, "{tests}");
}

/// Attacks, rows 12 to 15, 21 and 33 to 38: what is promised to whoever locks the door has a test.
#[test]
fn everything_that_strangers_may_try_has_its_test() {
    let tests = tests_named("docs/security.md", "## What strangers may try");
    assert!(tests > 20, "{tests}");
}

/// The folders of the broker, from bottom to top, and what each may import. One file beside the folders is one, too;
/// `broker` stands for `broker.rs` and `options.rs`, whose types speak of each other. A row names only rows above it, so
/// there is no circle; and only `apis.rs` knows the handlers.
const FOLDERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("node", &["base"]),
    ("coordinators", &["base", "node"]),
    ("api", &["base", "node", "coordinators"]),
    ("handlers", &["base", "node", "coordinators", "api"]),
    ("apis", &["base", "node", "coordinators", "api", "handlers"]),
    ("net", &["base", "node", "coordinators", "api", "apis"]),
    ("upkeep", &["base", "node", "coordinators", "api", "net"]),
    (
        "http",
        &["base", "node", "coordinators", "api", "apis", "net"],
    ),
    (
        "broker",
        &[
            "base",
            "node",
            "coordinators",
            "api",
            "apis",
            "net",
            "upkeep",
            "http",
        ],
    ),
    // The binary uses the library by its name, like everybody else.
    ("bin", &[]),
];

/// The row of `FOLDERS` that a module at the top of the broker belongs to.
fn folder_of(module: &str) -> &str {
    match module {
        "options" => "broker",
        module => module,
    }
}

/// Source text without comments, strings' contents kept, up to the tests at its end.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = product
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules that a path names at the place where it begins: `a` of `a::b`, `a` and `c` of `{a::b, c}`.
fn heads(path: &str) -> Vec<String> {
    let path = path.trim_start();
    let Some(list) = path.strip_prefix('{') else {
        let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
        return vec![path[..end.unwrap_or(path.len())].to_owned()];
    };
    let (mut all, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                all.extend(heads(&list[begin..at]));
                begin = at + 1;
            }
            '}' if depth == 0 => {
                all.extend(heads(&list[begin..at]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    all.retain(|head| !head.is_empty());
    all
}

/// What a file imports from the top of its crate: by `crate::`, or by as many `super::` as lead there.
fn imports(module: &[&str], text: &str) -> Vec<String> {
    let code = code(text);
    let above = "super::".repeat(module.len());
    let mut all = Vec::new();
    for start in ["crate::", &above] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':' && c != '$') {
                all.extend(heads(&code[at + start.len()..]));
            }
        }
    }
    all
}

#[test]
fn imports_are_found_in_lists_and_behind_super() {
    let text = "use crate::{a::{self, B}, c::D};\nuse super::super::e::F; // crate::g\nlet x = crate::h::i();";
    let mut found = imports(&["folder", "file"], text);
    found.sort();
    assert_eq!(found, ["a", "c", "e", "h"]);
    assert_eq!(imports(&["folder", "sub", "file"], text).len(), 3);
}

/// Whoever reads the broker from the bottom meets nothing that was not there before.
#[test]
fn folders_import_only_what_is_below_them() {
    for (at, (folder, below)) in FOLDERS.iter().enumerate() {
        for name in *below {
            let known = FOLDERS[..at].iter().any(|(other, _)| other == name);
            assert!(known, "{folder} may import {name}, which is not below it");
            assert!(*name != "handlers" || *folder == "apis", "{folder}");
        }
    }
    let root = root().join("crates/broker/src");
    let mut wrong = Vec::new();
    for (path, text) in sources(&root) {
        let Some(module) = module_of(&root, &path) else {
            continue;
        };
        let folder = folder_of(module[0]);
        let Some((_, below)) = FOLDERS.iter().find(|(name, _)| *name == folder) else {
            wrong.push(format!("{folder} has no row in FOLDERS"));
            continue;
        };
        for import in imports(&module, &text) {
            let import = folder_of(&import);
            let is_folder = FOLDERS.iter().any(|(name, _)| *name == import);
            if is_folder && import != folder && !below.contains(&import) {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where a file stands: `["log", "replay"]` for `log/replay.rs`; nothing for tests and for the crate's own root.
fn module_of<'a>(root: &Path, path: &'a Path) -> Option<Vec<&'a str>> {
    let relative = path.strip_prefix(root).expect("below it");
    let mut module: Vec<&str> = relative.iter().filter_map(|part| part.to_str()).collect();
    let name = module.pop()?.strip_suffix(".rs")?;
    if name != "mod" {
        module.push(name);
    }
    let is_test = module.last()?.ends_with("tests") || module.contains(&"tests");
    (!is_test && module != ["lib"]).then_some(module)
}

/// In no crate does a way of imports lead from one folder to another and back.
#[test]
fn no_circle_of_imports_spans_two_folders() {
    for name in ["core", "storage", "client", "broker"] {
        let root = root().join("crates").join(name).join("src");
        let folder = |module: &str| match name {
            "broker" => folder_of(module).to_owned(),
            _ => module.to_owned(),
        };
        let mut reaches: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, text) in sources(&root) {
            if let Some(module) = module_of(&root, &path) {
                let from = reaches.entry(folder(module[0])).or_default();
                let named = imports(&module, &text);
                from.extend(named.into_iter().map(|other| folder(&other)));
            }
        }
        // Whatever is reached in two steps is reached; as often as there are modules, and all is known.
        for _ in 0..reaches.len() {
            let known = reaches.clone();
            for to in reaches.values_mut() {
                let further = to.iter().filter_map(|over| known.get(over));
                let further: Vec<_> = further.flatten().cloned().collect();
                to.extend(further);
            }
        }
        let folders: Vec<_> = reaches
            .keys()
            .filter(|name| root.join(name).is_dir())
            .collect();
        for (from, to) in folders
            .iter()
            .flat_map(|a| folders.iter().map(move |b| (*a, *b)))
        {
            let there = reaches[from].contains(to) && reaches[to].contains(from);
            assert!(
                from == to || !there,
                "{name}: {from} and {to} import each other"
            );
        }
    }
}

/// A history that is played again ran otherwise where chance had a say: in the order of a hash map, and in which branch of
/// a `select!` is looked at first.
#[test]
fn nothing_is_left_to_chance_that_a_seed_does_not_repeat() {
    let mut wrong = Vec::new();
    for folder in ["crates/core/src", "crates/storage/src", "crates/broker/src"] {
        for (path, text) in sources(&root().join(folder)) {
            let code = code(&text);
            for (at, _) in code.match_indices("select! {") {
                let first = code[at..].lines().nth(1).unwrap_or_default();
                if first.trim() != "biased;" {
                    wrong.push(format!("{}: select! without biased", path.display()));
                }
            }
            for name in ["HashMap", "HashSet"] {
                if code.contains(name) {
                    wrong.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Tests held lengths of 2 GiB, with which other software was brought down: a length that is one too long shows as much.
#[test]
fn no_test_holds_a_giant_length() {
    let bytes = ["7f", "ff", "ff", "ff"];
    let mut forms = [", 0x", ",0x", ", ", ",", " ", ""]
        .map(|between| bytes.join(between))
        .to_vec();
    forms.push(["i32::max", "to_be_bytes"].join("."));
    let mut wrong = Vec::new();
    let mut folders = vec![root().join("crates"), root().join("fuzz")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && name != "target" && name != "corpus" && name != "generated" {
                folders.push(path);
                continue;
            }
            // What is no text is compressed, or a fuzzer's.
            let text = fs::read_to_string(&path).unwrap_or_default().to_lowercase();
            for line in text.lines() {
                if forms.iter().any(|form| line.contains(form)) {
                    wrong.push(format!("{}: {line}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
