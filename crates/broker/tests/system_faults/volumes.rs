//! Small volumes: one that is full refuses, reads on, and comes back by itself; one whose syncs fail takes no more, and
//! loses nothing that was answered. Tests that may not mount anything here say so.

use super::{DEADLINE, VALUE_BYTES, holds, read_all, start, write};
use crate::process::RUSTKA;
use crate::process::server::Server;
use rustka_client::{Client, Error, NewRecord, ProduceOptions, Producer, Resource};
use rustka_core::error::ErrorCode;
use rustka_storage::testing::Folder;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// More records than any volume of these tests has room for.
const RECORDS: usize = 2_000;

/// What is mounted below a folder, for those alone who are started in it; it is gone with this.
struct Volume {
    /// As long as it lives, so do the mounts.
    keeper: Child,
    folder: Folder,
}

impl Volume {
    /// Runs a script that mounts something, with the folder as its argument; nothing if that may not be done here.
    fn mounted(script: &str) -> Option<Volume> {
        let folder = Folder::made("volume");
        let script = format!("({script}) 1>&2 && echo mounted && read -r end");
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-c", &script, "sh"])
            .arg(&folder.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let (stdout, stderr) = (keeper.stdout.take()?, keeper.stderr.take()?);
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        read.expect("text");
        let volume = Volume { keeper, folder };
        if line != "mounted\n" {
            let mut why = String::new();
            let read = BufReader::new(stderr).read_to_string(&mut why);
            read.expect("text");
            eprintln!("skipped: nothing can be mounted here: {}", why.trim());
            return None;
        }
        Some(volume)
    }

    /// Something that is run where the mounts are.
    fn within(&self) -> Command {
        let mut within = Command::new("nsenter");
        let keeper = self.keeper.id().to_string();
        within.args(["--target", &keeper, "--mount"]);
        within
    }

    fn run(&self, script: &str) {
        let mut sh = self.within();
        let status = sh.args(["sh", "-c", script, "sh"]).arg(&self.folder.0);
        assert!(status.status().expect("it runs").success(), "{script}");
    }

    /// Starts a broker on it.
    fn start(&self, arguments: &[&str]) -> Server {
        let data = Folder(self.folder.0.join("data"));
        start(&data, &mut self.within(), arguments)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

async fn try_write(client: &Client, topic: &str) -> Result<i64, Error> {
    let options = ProduceOptions {
        is_idempotent: false,
        ..ProduceOptions::default()
    };
    let mut producer = Producer::new(client, options);
    let record = NewRecord::value("one more");
    let written = producer.send(topic, &[record]).await?;
    Ok(written[0].offset)
}

/// Writes a few records into `u`, then more into `t` than there is room for; those that were answered, of both.
async fn fill(client: &Client) -> (BTreeMap<i64, String>, BTreeMap<i64, String>) {
    for topic in ["t", "u"] {
        client.create_topic(topic, 1, 1).await.expect("a topic");
    }
    let few = write(client, "u", 5, 100).await;
    (few, write(client, "t", RECORDS, VALUE_BYTES).await)
}

/// Row 6 of what may go wrong with a disk: it is full. Waits for whoever makes room.
async fn comes_back(client: &Client, topic: &str) -> i64 {
    let written = async {
        loop {
            match try_write(client, topic).await {
                Ok(offset) => return offset,
                Err(error) => assert_eq!(error.code(), Some(ErrorCode::KafkaStorageError)),
            }
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, written).await;
    in_time.expect("it comes back by itself")
}

/// Everything that was answered and that retention has left is there; the first offset that is.
async fn holds_what_is_left(client: &Client, topic: &str, answered: &BTreeMap<i64, String>) -> i64 {
    let found = read_all(client, topic).await;
    let first = found.keys().next().copied().expect("something is left");
    for (offset, value) in answered.range(first..) {
        assert!(found.get(offset) == Some(value), "{topic}, offset {offset}");
    }
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_volume_refuses_reads_on_and_comes_back_by_itself() {
    for is_retention in [true, false] {
        let mount = "mount -t tmpfs -o size=40m tmpfs \"$1\"";
        let Some(volume) = Volume::mounted(mount) else {
            return;
        };
        let arguments = ["-c", "log.segment.bytes=1048576"];
        let server = volume.start(&arguments);
        let client = server.client();
        let (few, answered) = fill(&client).await;
        let count = answered.len();
        assert!((100..RECORDS).contains(&count), "{count}");
        for topic in ["t", "u"] {
            let refused = try_write(&client, topic).await.expect_err("full");
            assert_eq!(refused.code(), Some(ErrorCode::KafkaStorageError));
            assert!(refused.is_retriable());
        }

        // Reading, committing and even new topics go on.
        holds(&client, "t", &answered).await;
        let read = BTreeMap::from([(("t".to_owned(), 0), count as i64)]);
        let patient = server.options().client();
        let committed = patient.reset_offsets("g", &read).await;
        committed.expect("there is room for offsets");
        let made = client.create_topic("v", 1, 1).await;
        made.expect("there is room for topics");

        if is_retention {
            let less = [("retention.bytes", Some("8000000"))];
            let altered = client.alter_configs(Resource::Topic, "t", &less).await;
            altered.expect("there is room for configs");
            assert_eq!(comes_back(&client, "t").await, count as i64);
        } else {
            let deleted = client.delete_topics(&["t"]).await.expect("an answer");
            assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        }
        assert_eq!(comes_back(&client, "u").await, 5);
        drop(server);

        let server = volume.start(&arguments);
        let client = server.client();
        holds(&client, "u", &few).await;
        let patient = server.options().client();
        let known = patient.committed("g").await.expect("an answer");
        if is_retention {
            assert!(holds_what_is_left(&client, "t", &answered).await > 0);
            assert_eq!(known[&("t".to_owned(), 0)].offset, count as i64);
        }
        let topics = client.describe_topics(&["v".to_owned()]).await;
        assert!(topics.is_ok(), "{topics:?}");
    }
}

/// Row 7: a sync fails, and a second one would report success for what is lost. The volume lies in a file for which there
/// is less room than it claims, so that it takes writes and fails when they are synced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_is_not_believed_later_and_what_was_answered_is_there() {
    let mount = "mount -t tmpfs -o size=40m tmpfs \"$1\" && truncate -s 256M \"$1/image\" && \
        mkfs.ext4 -q -E nodiscard \"$1/image\" && mkdir \"$1/disk\" && \
        mount -o loop,errors=remount-ro \"$1/image\" \"$1/disk\" && mkdir \"$1/disk/data\" && \
        ln -s disk/data \"$1/data\"";
    let Some(volume) = Volume::mounted(mount) else {
        return;
    };
    let mut server = volume.start(&[]);
    let client = server.client();
    let (few, answered) = fill(&client).await;
    let count = answered.len();
    assert!((50..RECORDS).contains(&count), "{count}");
    // Never again in this life, also where there is room by now.
    volume.run("mount -o remount,size=400m \"$1\"");
    let refused = try_write(&client, "t").await.expect_err("read-only");
    assert_eq!(refused.code(), Some(ErrorCode::KafkaStorageError));
    holds(&client, "t", &answered).await;
    assert!(server.0.child.try_wait().expect("a process").is_none());
    drop(server);

    // The system has made it read-only, and says so until it is mounted again.
    let mut refused = volume.within();
    refused.args([RUSTKA, "--port", "0", "--http-port", "0", "--data-dir"]);
    let refused = refused.arg(volume.folder.0.join("data")).output();
    let refused = refused.expect("it runs");
    let why = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains("Read-only file system"), "{why}");
    assert!(why.contains("mount it to be written to"), "{why}");

    volume.run("umount \"$1/disk\" && mount -o loop \"$1/image\" \"$1/disk\"");
    let server = volume.start(&[]);
    let client = server.client();
    holds(&client, "t", &answered).await;
    holds(&client, "u", &few).await;
    assert_eq!(write(&client, "t", 1, 100).await.len(), 1);
}
