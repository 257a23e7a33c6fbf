//! One producer as a partition remembers it: its epoch, its newest batches, and where its transaction begins.
//!
//! There is one in each partition of each open transaction, so it is kept within a line of a processor's cache: batches
//! before the last one lie elsewhere, and only those producers have them that wrote more than once.

/// How many batches of a producer are remembered; Kafka's clients have no more in flight.
pub(super) const WINDOW: usize = 5;
/// What stands where no transaction is open.
const NO_TRANSACTION: i64 = -1;

/// What a producer takes with its place in the tree, and with the batches before its last one.
pub(super) const PRODUCER_BYTES: usize = size_of::<Producer>() + size_of::<Older>() + 50;

/// A batch that a producer appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchMark {
    pub last_offset: i64,
    pub timestamp: i64,
    pub last_sequence: i32,
    pub offset_delta: i32,
}

impl BatchMark {
    pub fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        i32::try_from(first.rem_euclid(1 << 31)).unwrap_or(0)
    }
}

/// The batches before the last one, oldest first.
type Older = [BatchMark; WINDOW - 1];

#[derive(Clone, Debug)]
pub(super) struct Producer {
    /// The newest batch, if there is any.
    newest: BatchMark,
    older: Option<Box<Older>>,
    /// When it last wrote, by our clock: a client's timestamps must not decide how long it is remembered.
    pub last_used_ms: i64,
    pub last_timestamp: i64,
    /// Where its transaction begins, or [`NO_TRANSACTION`].
    open_from: i64,
    pub coordinator_epoch: i32,
    epoch: i16,
    /// How many batches are known of this epoch.
    batch_count: u8,
}

impl Producer {
    pub fn new(epoch: i16) -> Producer {
        Producer {
            newest: BatchMark::default(),
            older: None,
            last_used_ms: 0,
            last_timestamp: -1,
            open_from: NO_TRANSACTION,
            coordinator_epoch: -1,
            epoch,
            batch_count: 0,
        }
    }

    pub fn epoch(&self) -> i16 {
        self.epoch
    }

    /// Where its open transaction begins.
    pub fn open_from(&self) -> Option<i64> {
        (self.open_from != NO_TRANSACTION).then_some(self.open_from)
    }

    pub fn is_open(&self) -> bool {
        self.open_from != NO_TRANSACTION
    }

    /// Its transaction begins at this offset.
    pub fn open(&mut self, first_offset: i64) {
        self.open_from = first_offset;
    }

    /// Its transaction is over; where it began.
    pub fn close(&mut self) -> Option<i64> {
        let from = self.open_from();
        self.open_from = NO_TRANSACTION;
        from
    }

    /// The newest batch of this epoch.
    pub fn newest(&self) -> Option<&BatchMark> {
        (self.batch_count > 0).then_some(&self.newest)
    }

    /// What is known of this epoch, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = &BatchMark> {
        let before = usize::from(self.batch_count).saturating_sub(1);
        let older = self.older.as_deref().and_then(|older| older.get(..before));
        older.unwrap_or_default().iter().chain(self.newest())
    }

    pub fn last_sequence(&self) -> i32 {
        self.newest().map_or(-1, |last| last.last_sequence)
    }

    /// Remembers a newer batch, and for it forgets the oldest one if there are as many as there may be.
    pub fn push(&mut self, mark: BatchMark) {
        let before = std::mem::replace(&mut self.newest, mark);
        if self.batch_count == 0 {
            self.batch_count = 1;
            return;
        }
        let older = self.older.get_or_insert_default();
        if usize::from(self.batch_count) == WINDOW {
            older.rotate_left(1);
            self.batch_count -= 1;
        }
        if let Some(place) = older.get_mut(usize::from(self.batch_count) - 1) {
            *place = before;
            self.batch_count += 1;
        }
    }

    /// Remembers these batches and no others, of which there is one at least.
    pub fn replace(&mut self, batches: impl IntoIterator<Item = BatchMark>) {
        self.batch_count = 0;
        batches.into_iter().for_each(|batch| self.push(batch));
    }

    /// In another epoch nothing of the former one counts.
    pub fn enter_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batch_count = 0;
            self.older = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: i32) -> BatchMark {
        BatchMark {
            last_offset: i64::from(number),
            last_sequence: number,
            ..BatchMark::default()
        }
    }

    fn known(producer: &Producer) -> Vec<i32> {
        producer.batches().map(|it| it.last_sequence).collect()
    }

    /// Ten partitions of an open transaction took 2 KB for the batches that nobody had written.
    #[test]
    fn a_producer_that_wrote_once_takes_one_line_of_the_cache() {
        assert!(size_of::<Producer>() <= 64, "{}", size_of::<Producer>());
        let mut producer = Producer::new(0);
        producer.push(mark(0));
        assert!(producer.older.is_none());
        assert_eq!(known(&producer), [0]);
    }

    #[test]
    fn the_newest_batches_are_known_in_their_order() {
        let mut producer = Producer::new(0);
        assert_eq!((known(&producer), producer.last_sequence()), (vec![], -1));
        for number in 0..12 {
            producer.push(mark(number));
            let from = (number - WINDOW as i32 + 1).max(0);
            assert_eq!(known(&producer), (from..=number).collect::<Vec<_>>());
            assert_eq!(producer.last_sequence(), number);
        }
        producer.replace([mark(3), mark(7)]);
        assert_eq!(known(&producer), [3, 7]);
    }

    #[test]
    fn another_epoch_knows_nothing_of_the_one_before() {
        let mut producer = Producer::new(0);
        (0..3).for_each(|number| producer.push(mark(number)));
        producer.enter_epoch(0);
        assert_eq!(known(&producer), [0, 1, 2]);
        producer.enter_epoch(1);
        assert_eq!((known(&producer), producer.last_sequence()), (vec![], -1));
        producer.push(mark(0));
        assert_eq!(known(&producer), [0]);
    }
}
