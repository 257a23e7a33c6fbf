//! What this machine has to run tests with.

use std::process::{Command, Stdio};

/// The interpreter that virtual environments are made with.
pub const PYTHON: &str = "python3";

fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Why programs in Python cannot run here, if they cannot.
pub fn python() -> Result<(), String> {
    if !answers(
        PYTHON,
        &["-c", "import sys; sys.exit(sys.version_info < (3, 10))"],
    ) {
        return Err(format!("no {PYTHON}, or one older than 3.10"));
    }
    if !answers(PYTHON, &["-c", "import venv, ensurepip"]) {
        return Err(format!(
            "{PYTHON} comes without the modules venv and ensurepip"
        ));
    }
    Ok(())
}

/// Whether a program of this name is on the path.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_on_the_path() {
        assert!(has("sh"));
        assert!(!has("no-such-program-anywhere"));
    }
}
