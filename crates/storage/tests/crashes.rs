//! Power cuts and failures at every step that the engine of files takes. A story is told to an engine on a simulated
//! disk; then the power is cut after each operation in it, in many ways, and what a start finds is held against what
//! had been promised by then: everything that was durable is there, in order and byte for byte, nothing that was never
//! written is, and what was deleted stays deleted as far as that was noted. After that the log takes more, and all of it
//! is there at the next start.
//!
//! `RUSTKA_CRASHES=1000 cargo test --release -p rustka-storage --test crashes` tells so many stories by chance.

use rustka_core::batch::{BatchBuilder, BatchHeader, HEADER_BYTES, NewRecord, crc_matches};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{DiskEngine, Fsync};
use rustka_storage::testing::Random;
use rustka_storage::testing::append;
use rustka_storage::testing::disk::{Failing, Loss, SimulatedDisk};
use rustka_storage::waiters::Waiter;
use rustka_storage::{Engine, Incoming, Partition, PartitionName, RetentionRules, Safety};
use rustka_wire::Uuid;
use std::path::Path;
use std::sync::Arc;

const ROOT: &str = "/data";
/// Stories by chance that are told where nobody asks for more.
const STORIES: u64 = 16;

fn now(ms: i64) -> Now {
    Now::new(ms, 1_000_000 + ms)
}

fn start(disk: &SimulatedDisk) -> Result<DiskEngine, String> {
    disk.start(Path::new(ROOT), Fsync::Always)
}

/// A partition of the story, and what was told of it. Each fact has the number of operations at which it held.
struct Life {
    topic: &'static str,
    id: Uuid,
    begun: usize,
    /// Offset after the batch's last one, and the bytes behind its header.
    batches: Vec<(usize, i64, Vec<u8>)>,
    /// Up to where everything was durable.
    promises: Vec<(usize, i64)>,
    /// Where it was asked to start.
    starts: Vec<(usize, i64)>,
    /// Where it starts for good.
    noted_starts: Vec<(usize, i64)>,
    deleted: Option<usize>,
}

fn last_by<T: Copy + Default>(facts: &[(usize, T)], operations: usize) -> T {
    let by_then = facts.iter().rev().find(|(at, _)| *at <= operations);
    by_then.map_or_else(T::default, |(_, fact)| *fact)
}

impl Life {
    fn name(&self) -> PartitionName<'_> {
        PartitionName {
            topic: self.topic,
            topic_id: self.id,
            index: 0,
        }
    }

    /// Whether the controller would open it after so many operations.
    fn is_there(&self, operations: usize) -> bool {
        self.begun <= operations && self.deleted.is_none_or(|at| at > operations)
    }

    /// What is wrong with what a start has found.
    fn check(&self, found: &Partition, operations: usize) -> Result<(), String> {
        let offsets = found
            .usable_offsets()
            .map_err(|code| format!("it is offline: {code:?}"))?;
        let (log_start, log_end) = (offsets.log_start, offsets.log_end);
        let promised = last_by(&self.promises, operations);
        if log_end < promised {
            return Err(format!("it ends at {log_end}, and {promised} was promised"));
        }
        let least = last_by(&self.noted_starts, operations);
        let asked = self.starts.iter().filter(|(at, _)| *at <= operations);
        let most = asked.map(|(_, start)| *start).max().unwrap_or(0).max(least);
        if log_start < least || log_start > most {
            return Err(format!(
                "it starts at {log_start} instead of {least} to {most}"
            ));
        }
        let mut next = log_start;
        let mut wrong = None;
        let read = found.each_batch(log_start, log_end, |bytes| {
            wrong = self.check_batch(bytes, &mut next, operations).err();
            wrong.is_none()
        });
        read.map_err(|code| format!("it cannot be read: {code:?}"))?;
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        if next != log_end {
            return Err(format!("reading ends at {next}, the log at {log_end}"));
        }
        // Also one by one, each of which looks into the indexes.
        for offset in log_start..log_end {
            let read = found.read(offset, i64::MAX, 0, true);
            let read = read.map_err(|code| format!("{offset} cannot be read: {code:?}"))?;
            let header = read
                .first()
                .and_then(|bytes| BatchHeader::parse(bytes).ok());
            let has_it = header.is_some_and(|header| {
                header.base_offset <= offset
                    && header.last_offset().is_some_and(|last| last >= offset)
            });
            if !has_it {
                return Err(format!("{offset} is not found"));
            }
        }
        Ok(())
    }

    fn check_batch(&self, bytes: &[u8], next: &mut i64, operations: usize) -> Result<(), String> {
        let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
        let end = header.last_offset().unwrap_or(i64::MAX - 1) + 1;
        if header.base_offset > *next || end <= *next {
            return Err(format!("{} comes where {next} belongs", header.base_offset));
        }
        *next = end;
        let written = self
            .batches
            .iter()
            .find(|(_, position, _)| *position == end);
        let same = written.is_some_and(|(at, _, content)| {
            *at <= operations && content == &bytes[HEADER_BYTES..] && crc_matches(bytes)
        });
        match same {
            true => Ok(()),
            false => Err(format!("what is before {end} was never written there")),
        }
    }
}

/// A story told to an engine.
struct Story {
    disk: SimulatedDisk,
    engine: DiskEngine,
    lives: Vec<Life>,
    /// Those of the lives, as long as they are there.
    partitions: Vec<Option<Arc<Partition>>>,
    written: u64,
    ms: i64,
    /// Nothing fails on purpose.
    is_sound: bool,
}

impl Story {
    fn begin(disk: SimulatedDisk, is_sound: bool) -> Story {
        let engine = start(&disk).expect("an empty directory");
        let mut story = Story {
            disk,
            engine,
            lives: Vec::new(),
            partitions: Vec::new(),
            written: 0,
            ms: 0,
            is_sound,
        };
        story.create("first");
        story.create("second");
        story
    }

    fn create(&mut self, topic: &'static str) {
        let life = Life {
            topic,
            id: Uuid([self.lives.len() as u8 + 1; 16]),
            begun: self.disk.operations(),
            batches: Vec::new(),
            promises: Vec::new(),
            starts: Vec::new(),
            noted_starts: Vec::new(),
            deleted: None,
        };
        let partition = Partition::open(&self.engine, &life.name(), false, now(self.ms));
        self.lives.push(life);
        self.partitions.push(Some(partition));
    }

    /// Those that are there.
    fn living(&self) -> Vec<usize> {
        let indexes = 0..self.partitions.len();
        indexes
            .filter(|index| self.partitions[*index].is_some())
            .collect()
    }

    /// Notes what is promised by now.
    fn look(&mut self) {
        let at = self.disk.operations();
        for (life, partition) in self.lives.iter_mut().zip(&self.partitions) {
            let Some(partition) = partition else { continue };
            let durable = partition.offsets().high_watermark;
            if durable > last_by(&life.promises, at) {
                life.promises.push((at, durable));
            }
        }
    }

    fn append(&mut self, index: usize, value_bytes: usize) {
        let Some(partition) = self.partitions[index].clone() else {
            return;
        };
        self.written += 1;
        let mut filling = Random(self.written.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
        let value: Vec<u8> = (0..value_bytes).map(|_| filling.draw() as u8).collect();
        let record = NewRecord {
            timestamp: self.ms,
            value: Some(&value),
            ..NewRecord::default()
        };
        let batch = BatchBuilder::new().record(&record).record(&record);
        let mut bytes = batch.build().expect("a batch");
        let content = bytes[HEADER_BYTES..].to_vec();
        let header = BatchHeader::parse(&bytes).expect("a batch");
        let at = self.disk.operations();
        let incoming = Incoming::Copied(&mut bytes);
        // After a failure it takes no more.
        if let Ok(appended) = partition.append(incoming, &header, Origin::Client, now(self.ms)) {
            let end = appended.base_offset + 2;
            let life = &mut self.lives[index];
            life.batches.retain(|(_, position, _)| *position < end);
            life.batches.push((at, end, content));
        }
    }

    fn delete_records(&mut self, index: usize, before: i64) {
        let Some(partition) = &self.partitions[index] else {
            return;
        };
        let at = self.disk.operations();
        // Also where it fails a part of it may have been done.
        self.lives[index].starts.push((at, before));
        let _failed = partition.delete_records(before);
    }

    /// Drops whole segments beyond a size.
    fn retain(&mut self, index: usize) {
        let Some(partition) = self.partitions[index].clone() else {
            return;
        };
        let rules = RetentionRules {
            retention_ms: -1,
            retention_bytes: partition.bytes() as i64 / 2,
            delete: true,
        };
        let at = self.disk.operations();
        partition.retain(&rules, now(self.ms));
        let start = partition.offsets().log_start;
        self.lives[index].starts.push((at, start));
    }

    /// Somebody waits for what was appended to be written, durable or not.
    fn hurry(&mut self, index: usize) {
        if let Some(partition) = &self.partitions[index] {
            let log_end = partition.offsets().log_end;
            partition.await_write(log_end, Safety::Written, &Waiter::new());
        }
    }

    fn delete(&mut self, index: usize) {
        let Some(partition) = self.partitions[index].take() else {
            return;
        };
        self.lives[index].deleted = Some(self.disk.operations());
        partition.delete();
    }

    fn work(&mut self) {
        while self.engine.work_one() {
            self.look();
        }
    }

    fn tick(&mut self, passed_ms: i64) {
        self.ms += passed_ms;
        self.engine.tick(now(self.ms));
    }

    /// Everything is done: starts are noted.
    fn settle(&mut self) {
        for partition in self.partitions.iter().flatten() {
            partition.checkpoint();
        }
        self.work();
        let at = self.disk.operations();
        for (life, partition) in self.lives.iter_mut().zip(&self.partitions) {
            if let Some(partition) = partition
                && self.is_sound
            {
                life.noted_starts.push((at, partition.offsets().log_start));
            }
        }
    }

    /// Stops in order and starts again.
    fn restart(&mut self) {
        self.engine.close();
        self.look();
        self.start();
    }

    /// Starts again after a kill: the system still has what was written.
    fn start(&mut self) {
        let Ok(engine) = start(&self.disk) else {
            return;
        };
        self.engine = engine;
        for (life, partition) in self.lives.iter().zip(&mut self.partitions) {
            if partition.is_some() {
                let name = life.name();
                *partition = Some(Partition::open(&self.engine, &name, false, now(self.ms)));
            }
        }
        self.look();
    }
}

/// Everything that an engine does to its files, once.
fn whole_story(disk: SimulatedDisk, is_sound: bool) -> Story {
    let mut story = Story::begin(disk, is_sound);
    for bytes in [10, 700, 1_500, 1_500] {
        story.append(0, bytes);
    }
    story.append(1, 100);
    story.engine.work_one();
    story.look();
    // What comes before a sync begins is left to it, unless somebody waits for less.
    story.append(0, 2_500);
    story.hurry(0);
    story.append(0, 40);
    story.work();
    for _ in 0..3 {
        if let Some(partition) = &story.partitions[0] {
            partition.roll();
        }
        story.append(0, 600);
        story.append(0, 600);
    }
    story.engine.work_one();
    story.append(0, 20);
    story.work();
    story.delete_records(0, 3);
    story.settle();
    story.retain(0);
    story.append(0, 300);
    story.settle();
    story.delete(1);
    story.create("second");
    story.append(2, 900);
    story.work();
    story.tick(100);
    story.work();
    story.tick(70_000);
    story.work();
    story.restart();
    story.append(0, 1_000);
    story.append(2, 1_000);
    story.engine.work_one();
    story.start();
    story.append(0, 1_000);
    story.work();
    story.engine.close();
    story.look();
    story
}

/// What happens to an engine, by chance.
fn story_by_chance(disk: SimulatedDisk, seed: u64) -> Story {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut story = Story::begin(disk, true);
    for _ in 0..40 {
        let living = story.living();
        let index = living[random.below(living.len() as u64) as usize];
        match random.below(25) {
            0..=7 => story.append(index, random.below(3_000) as usize),
            8..=12 => {
                story.engine.work_one();
                story.look();
            }
            13 | 14 => {
                if let Some(partition) = &story.partitions[index] {
                    partition.roll();
                }
            }
            15 => {
                let durable = story.partitions[index]
                    .as_ref()
                    .map_or(0, |partition| partition.offsets().high_watermark);
                story.delete_records(index, random.below(durable as u64 + 1) as i64);
            }
            16 => story.settle(),
            17 => story.retain(index),
            18 => story.tick(random.below(90_000) as i64),
            19 if story.lives.len() < 12 => {
                let topic = story.lives[index].topic;
                story.delete(index);
                story.create(topic);
            }
            20 => story.restart(),
            21 => story.start(),
            22 => story.hurry(index),
            _ => story.work(),
        }
    }
    story
}

/// What is wrong with what a start finds on `disk`, which is what is left of the story after so many operations.
fn check(story: &Story, disk: &SimulatedDisk, operations: usize) -> Result<(), String> {
    let engine = start(disk)?;
    let mut grown = Vec::new();
    for life in story.lives.iter().filter(|life| life.is_there(operations)) {
        let about = |wrong| format!("{} of {:?}: {wrong}", life.topic, life.id.0[0]);
        let partition = Partition::open(&engine, &life.name(), false, now(0));
        life.check(&partition, operations).map_err(about)?;
        let log_end = partition.offsets().log_end;
        for _ in 0..2 {
            let batch = BatchBuilder::new().record(&NewRecord::default());
            let appended = append(&partition, batch, Origin::Client, now(0));
            appended.map_err(|refusal| about(format!("it takes no more: {refusal:?}")))?;
        }
        engine.work();
        let offsets = partition.offsets();
        if offsets.high_watermark != log_end + 2 {
            return Err(about(format!("what is new is not durable: {offsets:?}")));
        }
        grown.push((life, offsets));
    }
    engine.close();
    let engine = start(disk)?;
    for (life, before) in grown {
        let again = Partition::open(&engine, &life.name(), false, now(0));
        let now = again.usable_offsets();
        let same = now.is_ok_and(|now| {
            (now.log_start, now.high_watermark) == (before.log_start, before.high_watermark)
        });
        if !same {
            let (topic, id) = (life.topic, life.id.0[0]);
            return Err(format!(
                "{topic} of {id}: a stop in order changed it: {now:?} instead of {before:?}"
            ));
        }
    }
    Ok(())
}

/// Ways to lose power: those that are extreme, and some by chance.
fn losses(seed: u64, by_chance: u64) -> impl Iterator<Item = Loss> {
    let extremes = [Loss::Everything, Loss::Nothing, Loss::Bytes, Loss::Names];
    let chances = (0..by_chance).map(move |n| Loss::Some(seed * 1_000 + n));
    extremes.into_iter().chain(chances)
}

/// Cuts the power after so many operations of the story, then once more within the start that follows.
fn cut(which: &str, story: &Story, operations: usize, loss: Loss, again: Option<u64>) {
    let disk = story.disk.after_crash(operations, loss);
    let context = |what: &str, wrong: &str| {
        let before = story.disk.operation(operations.wrapping_sub(1));
        let next = story.disk.operation(operations);
        format!(
            "{wrong}\n  {which}, {what}{operations} operations, {loss:?}\n  after: {before}\n  before: {next}"
        )
    };
    let pristine = disk.after_crash(0, Loss::Nothing);
    if let Err(wrong) = check(story, &disk, operations) {
        panic!("{}\nthe start found:\n{pristine}", context("", &wrong));
    }
    let Some(seed) = again else { return };
    let mut random = Random(seed | 1);
    let within = random.below(disk.operations() as u64 + 1) as usize;
    // What is written after the start was not written by the story.
    let second_loss = Loss::Some(seed);
    let started = pristine.clone();
    if let Ok(engine) = start(&started) {
        for life in story.lives.iter().filter(|life| life.is_there(operations)) {
            Partition::open(&engine, &life.name(), false, now(0));
        }
        engine.work();
    }
    let within = within.min(started.operations());
    let disk = started.after_crash(within, second_loss);
    if let Err(wrong) = check(story, &disk, operations) {
        let next = started.operation(within);
        let what = format!(
            "again after {within} operations of the start (before: {next}), {second_loss:?}, first "
        );
        panic!("{}", context(&what, &wrong));
    }
}

#[test]
fn the_power_may_go_at_every_step() {
    let story = whole_story(SimulatedDisk::new(Path::new(ROOT)), true);
    let operations = story.disk.operations();
    assert!(operations > 100, "{operations}");
    for at in 0..=operations {
        for (number, loss) in losses(at as u64, 4).enumerate() {
            let again = (number % 3 == 0).then_some(at as u64);
            cut("the whole story", &story, at, loss, again);
        }
    }
}

#[test]
fn the_power_may_go_at_any_step_of_stories_by_chance() {
    let stories = std::env::var("RUSTKA_CRASHES").ok();
    let stories = stories.map_or(STORIES, |stories| stories.parse().expect("a number"));
    for seed in 1..=stories {
        let story = story_by_chance(SimulatedDisk::new(Path::new(ROOT)), seed);
        let mut random = Random(seed);
        for _ in 0..12 {
            let at = random.below(story.disk.operations() as u64 + 1) as usize;
            for loss in losses(random.below(1_000_000), 3) {
                let which = format!("story {seed}");
                cut(&which, &story, at, loss, Some(random.draw()));
            }
        }
    }
}

#[test]
fn every_step_may_fail_and_nothing_that_was_promised_is_lost() {
    let operations = whole_story(SimulatedDisk::new(Path::new(ROOT)), true)
        .disk
        .operations();
    for at in 10..operations {
        for failing in [Failing::At(at), Failing::From(at)] {
            let disk = SimulatedDisk::new(Path::new(ROOT));
            disk.fail(failing);
            let story = whole_story(disk, false);
            let end = story.disk.operations();
            let which = format!("{failing:?}: {}", story.disk.operation(at));
            for loss in losses(at as u64, 2) {
                cut(&which, &story, end, loss, None);
            }
        }
    }
}
