//! Small files of text: what somebody configures a broker with.

/// A file is read up to this size.
const BYTES_MAX: u64 = 4 << 20;

/// The text of a file. The sentence on why it cannot be read does not name it.
pub fn read(path: &str) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if size.len() > BYTES_MAX {
        return Err(format!("it is larger than {BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
