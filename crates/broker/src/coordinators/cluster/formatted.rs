//! What `kafka-storage format` has left in a data directory for a new cluster to begin with: users, levels of features.

use crate::base::start::StartError;
use rustka_core::cluster::bootstrap;
use rustka_core::cluster::records::Record;
use rustka_core::names::CLUSTER_METADATA;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// No such file is larger than this.
const BYTES_MAX: u64 = 16 << 20;

/// Reads the file, if there is one.
pub fn read(directory: &Path) -> Result<Arc<[Record]>, StartError> {
    let folder = directory.join(format!("{CLUSTER_METADATA}-0"));
    let path = folder.join(bootstrap::FILE);
    let cannot = |why: String| {
        StartError::new(format!(
            "{} cannot be used: {why}; format the directory again",
            path.display()
        ))
    };
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Arc::default()),
        Err(error) => return Err(cannot(error.to_string())),
        Ok(found) if found.len() > BYTES_MAX => return Err(cannot("it is too large".to_owned())),
        Ok(_) => {}
    }
    let bytes = std::fs::read(&path).map_err(|error| cannot(error.to_string()))?;
    let records = bootstrap::read(&bytes).map_err(cannot)?;
    Ok(records.into())
}
