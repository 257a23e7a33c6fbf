//! What holds for the sources themselves.

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

/// Guards were shown by inputs that nobody could name: fuzz/README.md lists them, and each has the test that trips it.
#[test]
fn every_guard_of_the_list_has_its_test() {
    let list = fs::read_to_string(root().join("fuzz/README.md")).expect("the list of guards");
    let (_, list) = list.split_once("## Guards").expect("a chapter on guards");
    let sources = sources(&root().join("crates"));
    let mut tests = 0;
    for row in list.lines().filter(|line| line.starts_with('|')).skip(2) {
        let quoted = || row.split('`').skip(1).step_by(2);
        for name in quoted().filter(|quoted| !quoted.contains('/')) {
            let test = format!("fn {name}()");
            let found = sources.iter().any(|(_, text)| text.contains(&test));
            assert!(found, "no test is called {name}");
            tests += 1;
        }
        for file in quoted().filter(|quoted| quoted.contains('/')) {
            assert!(root().join("crates").join(file).exists(), "{file}");
        }
    }
    assert!(tests > 20, "{tests}");
}
