//! A new chunk in memory that compaction fills.

use crate::buffer::{BufMut, Pool, Slice};
use crate::engine::{Content, Sink, WriteFailed};
use std::sync::Arc;

pub(super) struct MemorySink {
    filled: Option<Slice>,
    rest: BufMut,
}

impl MemorySink {
    pub fn new(pool: &Arc<Pool>, bytes: usize) -> MemorySink {
        MemorySink {
            filled: None,
            rest: pool.take(bytes),
        }
    }
}

impl Sink for MemorySink {
    fn room(&self) -> usize {
        self.rest.room()
    }

    fn push(&mut self, batch: &[u8]) -> Result<(), WriteFailed> {
        self.rest.push(batch);
        Ok(())
    }

    fn content(&mut self) -> Result<Content, WriteFailed> {
        let more = self.rest.freeze_filled();
        let content = match self.filled.take() {
            Some(mut filled) => {
                assert!(filled.join(&more), "both lie in one block");
                filled
            }
            None => more,
        };
        self.filled = Some(content.clone());
        Ok(Content::Here(content))
    }
}
