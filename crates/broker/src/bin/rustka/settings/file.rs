//! The properties file: the one that is named, or one where Kafka's images have theirs.

use super::{Note, Place, Setting, Settings};
use crate::properties;

/// Where the images of Apache (mounted, then their own) and Confluent have it.
const USUAL: [&str; 3] = [
    "/mnt/shared/config/server.properties",
    "/opt/kafka/config/server.properties",
    "/etc/kafka/kafka.properties",
];

impl Settings {
    /// Reads the file of this name, none where the name is empty, or the first of the usual ones that is there.
    pub(super) fn read_file(&mut self, named: Option<&str>) {
        let usual = || {
            USUAL
                .into_iter()
                .find(|path| std::path::Path::new(path).is_file())
        };
        let path = match named {
            Some("") => return,
            Some(path) => path,
            None => match usual() {
                Some(path) => {
                    let text = format!("configs are read from {path}");
                    let is_warning = false;
                    self.notes.push(Note { is_warning, text });
                    path
                }
                None => return,
            },
        };
        match read(path) {
            Ok(given) => self.given.extend(given),
            Err(why) => (self.mistakes).push(format!("cannot read the config file {path}: {why}")),
        }
    }
}

fn read(path: &str) -> Result<Vec<Setting>, String> {
    let text = crate::files::read(path)?;
    let properties = properties::parse(&text)?.into_iter();
    let settings = properties.map(|property| Setting {
        key: property.key,
        value: property.value,
        place: Place::File {
            path: path.to_owned(),
            line: property.line,
        },
    });
    Ok(settings.collect())
}
