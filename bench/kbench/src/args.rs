//! `--key value` arguments.
use std::collections::HashMap;

pub struct Args(HashMap<String, String>);
impl Args {
    pub fn parse(it: impl Iterator<Item = String>) -> Args {
        let (mut m, mut key) = (HashMap::new(), None);
        for a in it {
            match key.take() {
                None => {
                    key = Some(
                        a.strip_prefix("--")
                            .unwrap_or_else(|| panic!("expected --key, got {a}"))
                            .to_string(),
                    )
                }
                Some(k) => {
                    m.insert(k, a);
                }
            }
        }
        Args(m)
    }
    pub fn str(&self, k: &str, d: &str) -> String {
        self.0.get(k).cloned().unwrap_or_else(|| d.to_string())
    }
    pub fn num(&self, k: &str, d: i64) -> i64 {
        self.0
            .get(k)
            .map_or(d, |v| v.parse().unwrap_or_else(|_| panic!("--{k} {v}")))
    }
    pub fn addr(&self) -> String {
        self.str("addr", "127.0.0.1:9092")
    }
    pub fn pid(&self) -> i32 {
        self.num("pid", 0) as i32
    }
}
