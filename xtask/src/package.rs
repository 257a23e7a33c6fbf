//! `cargo xtask package [--binary PATH] [--target TARGET]`: what people download, `target/package/rustka-VERSION-TARGET.tar.gz`
//! with the binary, its manual and what shells complete, and a file with its checksum beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a binary is asked for, and the file that its answer becomes.
const MADE: [(&[&str], &str); 4] = [
    (&["manual"], "man/rustka.1"),
    (&["completions", "bash"], "completions/rustka.bash"),
    (&["completions", "zsh"], "completions/_rustka"),
    (&["completions", "fish"], "completions/rustka.fish"),
];

/// Builds unless a binary is named, and packs.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let root = crate::root();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let target = match value("--target") {
        Some(target) => target.to_owned(),
        None => host()?,
    };
    let binary = match value("--binary") {
        Some(path) => PathBuf::from(path),
        None => {
            // What is static is made for images, and small.
            let profile = if target.ends_with("musl") {
                "static"
            } else {
                "release"
            };
            crate::test::build_broker(&root, &["--profile", profile, "--target", &target])?
        }
    };
    let version = output(Command::new(&binary).arg("version"))?;
    let version = String::from_utf8_lossy(&version).trim().to_owned();
    let name = format!("rustka-{version}-{target}");
    let packages = root.join("target/package");
    let folder = packages.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    copy(&binary, &folder.join("rustka"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE"] {
        copy(&root.join(file), &folder.join(file))?;
    }
    for (words, file) in MADE {
        let text = output(Command::new(&binary).args(words))?;
        let path = folder.join(file);
        make_folder(&path)?;
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let archive = format!("{name}.tar.gz");
    // The same files make the same archive, whoever packs them and when.
    output(
        Command::new("tar")
            .current_dir(&packages)
            .env("GZIP", "-n")
            .args([
                "--sort=name",
                "--owner=0",
                "--group=0",
                "--numeric-owner",
                "--mtime=@0",
            ])
            .args(["-czf", &archive, &name]),
    )?;
    let sum = output(
        Command::new("sha256sum")
            .current_dir(&packages)
            .arg(&archive),
    )?;
    let sums = packages.join(format!("{archive}.sha256"));
    fs::write(&sums, &sum).map_err(|error| format!("{}: {error}", sums.display()))?;
    println!("{}", packages.join(&archive).display());
    print!("{}", String::from_utf8_lossy(&sum));
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    make_folder(to)?;
    let copied = fs::copy(from, to);
    copied
        .map(drop)
        .map_err(|error| format!("{}: {error}", from.display()))
}

fn make_folder(file: &Path) -> Result<(), String> {
    let folder = file.parent().ok_or("a file without a folder")?;
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// The target that cargo builds for here.
fn host() -> Result<String, String> {
    let told = output(Command::new("rustc").arg("-vV"))?;
    let told = String::from_utf8_lossy(&told);
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or("rustc names no host".to_owned())
}

fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let named = format!("{:?}", command.get_program());
    let output = command
        .output()
        .map_err(|error| format!("{named}: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!(
            "{named}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
