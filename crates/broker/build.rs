//! Compresses the files of the dashboard, which are kept in the binary as browsers take them.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=ui");
    let into = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut table = String::from("[\n");
    if env::var_os("CARGO_FEATURE_HTTP").is_some() {
        let mut files = Vec::new();
        find(Path::new("ui"), &mut files)?;
        files.sort();
        for (at, path) in files.iter().enumerate() {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(&fs::read(path)?)?;
            let target = into.join(format!("{at}.gz"));
            fs::write(&target, gzip.finish()?)?;
            let name = path.strip_prefix("ui").unwrap_or(path);
            let name = name.to_string_lossy().replace('\\', "/");
            let _infallible =
                writeln!(table, "(\"/{name}\", include_bytes!({target:?}) as &[u8]),");
        }
    }
    table.push_str("]\n");
    fs::write(into.join("ui.rs"), table)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_served = |path: &Path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("html" | "js" | "css" | "svg"))
        };
        if path.is_dir() {
            find(&path, files)?;
        } else if is_served(&path) {
            files.push(path);
        }
    }
    Ok(())
}
