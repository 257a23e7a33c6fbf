//! Reads of what is in files alone. A socket is sent the bytes out of the files, everybody else has them in memory first:
//! they are the same bytes, and a socket that is slow, gone or surprised by what happens to a file harms nobody.
#![cfg(target_os = "linux")]

mod common;

use common::producer::{NEWER, Producer};
use common::{START_MS, World, fetch_request, frame, produce_request};
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_storage::testing::Folder;
use rustka_wire::codec::Reader;
use rustka_wire::fetch_request::{FetchPartition, FetchRequest};
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const VERSION: i16 = 12;
/// Reached only by tests that fail.
const DEADLINE: Duration = Duration::from_secs(60);
/// What a client takes that does not want much at once.
const LITTLE: u32 = 4 << 10;

fn start(folder: &Folder) -> World {
    World::with(|options| {
        let options = options.data_dir(&folder.0).sockets(true).port(0);
        options
            .http_port(0)
            .config("log.segment.delete.delay.ms", "0")
            // Hours may pass until a thread of the pool has had its turn.
            .config("connections.max.idle.ms", "-1")
    })
}

/// A batch of one record whose bytes tell which one it is.
fn batch(number: usize, bytes: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..bytes).map(|at| (at / 7 + number * 31) as u8).collect();
    let record = NewRecord {
        timestamp: START_MS,
        value: Some(&value),
        ..NewRecord::default()
    };
    BatchBuilder::new().record(&record).build().expect("fits")
}

/// Partitions of a topic with so many batches of so many bytes each, in files alone.
async fn cold(folder: &Folder, partitions: i32, batches: usize, bytes: usize) -> World {
    filled(folder, partitions, batches, bytes).await;
    start(folder)
}

/// The same, before the broker starts that has nothing of it in memory.
async fn filled(folder: &Folder, partitions: i32, batches: usize, bytes: usize) {
    let world = start(folder);
    let mut client = world.connect();
    client.create_topic("t", partitions).await;
    for partition in 0..partitions {
        for number in 0..batches {
            let batch = batch(number + 1_000 * partition as usize, bytes);
            write(&mut client, partition, batch).await;
        }
    }
    world.broker.stop().await;
}

async fn write(client: &mut common::Client, partition: i32, batch: Vec<u8>) {
    let request = ProduceRequest {
        acks: -1,
        ..produce_request("t", partition, batch)
    };
    let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
    let body: ProduceResponse<'_> = answer.body();
    assert_eq!(body.responses[0].partition_responses[0].error_code, 0);
}

/// A client at a socket that takes little at once.
async fn connect(world: &World) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(LITTLE).expect("set");
    let address = world.broker.bootstrap().parse().expect("an address");
    socket.connect(address).await.expect("connected")
}

async fn ask(stream: &mut TcpStream, request: &FetchRequest<'_>) {
    let frame = frame(FetchRequest::KEY, VERSION, 1, "test", request);
    let length = u32::try_from(frame.len()).expect("short").to_be_bytes();
    let sent = stream.write_all(&[&length, &frame[..]].concat()).await;
    sent.expect("sent");
}

/// The next answer, read little by little.
async fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let reading = async {
        let length = stream.read_u32().await.expect("a length") as usize;
        let mut answer = Vec::new();
        while answer.len() < length {
            let mut some = vec![0; (length - answer.len()).min(10_007)];
            let n = stream.read(&mut some).await.expect("more");
            assert!(n > 0, "{} of {length} bytes came", answer.len());
            answer.extend_from_slice(&some[..n]);
        }
        answer
    };
    let answer = tokio::time::timeout(DEADLINE, reading).await;
    answer.expect("an answer in time")
}

async fn by_socket(world: &World, request: &FetchRequest<'_>) -> Vec<u8> {
    let mut stream = connect(world).await;
    ask(&mut stream, request).await;
    answer(&mut stream).await
}

async fn in_memory(world: &World, request: &FetchRequest<'_>) -> Vec<u8> {
    let mut client = world.connect();
    let frame = frame(FetchRequest::KEY, VERSION, 1, "test", request);
    client.send_frame(&frame).await;
    client.receive().await.expect("an answer")
}

fn body(answer: &[u8]) -> FetchResponse<'_> {
    let mut reader = Reader::new(answer);
    // The number of the answer, and tagged fields.
    reader.i32().expect("a number");
    reader.uvarint().expect("no tags");
    FetchResponse::decode(&mut reader, VERSION).expect("an answer")
}

/// The offsets of the batches of each partition.
fn offsets(answer: &[u8]) -> Vec<Vec<i64>> {
    let body = body(answer);
    let partitions = body.responses.iter().flat_map(|topic| &topic.partitions);
    let all = partitions.map(|partition| {
        assert_eq!(partition.error_code, 0);
        let records = partition.records.as_ref();
        let mut left = records.map_or(&[][..], |records| records.as_bytes());
        let mut offsets = Vec::new();
        while let Ok(header) = BatchHeader::parse(left) {
            offsets.push(header.base_offset);
            left = &left[header.total_bytes()..];
        }
        assert!(left.is_empty(), "whole batches alone");
        offsets
    });
    all.collect()
}

fn from_files(world: &World) -> u64 {
    world.broker.node().metrics.bytes_from_files.load(Relaxed)
}

fn limited(offset: i64, partition_bytes: i32) -> FetchRequest<'static> {
    let mut request = fetch_request("t", 0, offset, 0);
    request.topics[0].partitions[0].partition_max_bytes = partition_bytes;
    request
}

#[tokio::test]
async fn a_socket_is_sent_out_of_files_what_others_have_in_memory() {
    let folder = Folder::new("cold");
    let world = cold(&folder, 1, 60, 50_000).await;
    let mut seen = 0;
    for limit in [1, 60_000, 100_130, 1_000_000, 64 << 20] {
        for offset in [0, 1, 30, 58, 59, 60] {
            let request = limited(offset, limit);
            let before = from_files(&world);
            let sent = by_socket(&world, &request).await;
            let read = in_memory(&world, &request).await;
            assert!(sent == read, "from {offset} at most {limit}");
            let offsets = offsets(&sent).remove(0);
            assert_eq!(offsets.first(), (offset < 60).then_some(&offset));
            let bytes = from_files(&world) - before;
            assert_eq!(bytes > 0, offset < 60, "from {offset} at most {limit}");
            seen += offsets.len();
        }
    }
    assert!(seen > 200, "{seen}");
    world.broker.stop().await;
}

#[tokio::test]
async fn small_reads_are_copied_and_are_the_same() {
    let folder = Folder::new("cold");
    let world = cold(&folder, 1, 200, 300).await;
    for offset in [0, 1, 77, 199] {
        let request = limited(offset, 10_000);
        let sent = by_socket(&world, &request).await;
        assert!(sent == in_memory(&world, &request).await, "from {offset}");
        assert_eq!(offsets(&sent)[0][0], offset);
    }
    assert_eq!(from_files(&world), 0);
    world.broker.stop().await;
}

#[tokio::test]
async fn pieces_of_files_and_of_memory_share_an_answer() {
    let folder = Folder::new("cold");
    let world = cold(&folder, 6, 5, 40_000).await;
    let mut client = world.connect();
    // Some of them have more in memory, and one is read from there alone.
    for partition in [1, 3, 4] {
        write(&mut client, partition, batch(7, 50_000)).await;
    }
    let mut request = fetch_request("t", 0, 0, 0);
    let places = [(0, 0), (1, 5), (2, 3), (3, 5), (4, 0), (5, 5)];
    let partitions = places.map(|(partition, fetch_offset)| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    });
    request.topics[0].partitions = partitions.to_vec();
    for max_bytes in [64 << 20, 250_000, 1] {
        request.max_bytes = max_bytes;
        let sent = by_socket(&world, &request).await;
        assert!(
            sent == in_memory(&world, &request).await,
            "at most {max_bytes}"
        );
        let offsets = offsets(&sent);
        assert_eq!(offsets[0][0], 0);
        if max_bytes == 64 << 20 {
            assert_eq!(offsets[1..4], [vec![5], vec![3, 4], vec![5]]);
            assert_eq!(offsets[4..], [(0..5).collect(), vec![]]);
        }
    }
    assert!(from_files(&world) > 0);
    // The same in a session, which goes on where it was told that nothing had come.
    request.max_bytes = 64 << 20;
    request.session_epoch = 0;
    let mut stream = connect(&world).await;
    ask(&mut stream, &request).await;
    let first = answer(&mut stream).await;
    assert_eq!(offsets(&first)[0], [0, 1, 2, 3, 4]);
    request.session_id = body(&first).session_id;
    request.topics.clear();
    for epoch in 1..4 {
        request.session_epoch = epoch;
        ask(&mut stream, &request).await;
        let again = answer(&mut stream).await;
        assert_eq!(
            offsets(&again),
            [
                vec![0, 1, 2, 3, 4],
                vec![5],
                vec![3, 4],
                vec![5],
                (0..5).collect()
            ]
        );
    }
    world.broker.stop().await;
}

#[tokio::test]
async fn readers_of_what_is_committed_are_told_what_was_aborted_among_what_they_are_sent() {
    let folder = Folder::new("cold");
    let world = start(&folder);
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    let mut epochs = me.clone();
    for round in 0..6 {
        assert_eq!(epochs.produce(&mut client, NEWER, ("t", 0), 0).await.0, 0);
        let (code, next) = epochs.end(&mut client, NEWER, round % 2 == 0).await;
        assert_eq!(code, 0);
        epochs = next;
        write(&mut client, 0, batch(round, 60_000)).await;
    }
    world.broker.stop().await;
    let world = start(&folder);
    let mut told = Vec::new();
    for limit in [1, 70_000, 200_000, 64 << 20] {
        for offset in [0, 2, 5] {
            let mut request = limited(offset, limit);
            request.isolation_level = 1;
            let sent = by_socket(&world, &request).await;
            assert!(
                sent == in_memory(&world, &request).await,
                "from {offset} at most {limit}"
            );
            let body = body(&sent);
            let aborted = body.responses[0].partitions[0]
                .aborted_transactions
                .as_ref();
            let last = offsets(&sent)[0].last().copied().expect("something");
            let aborted = aborted.expect("a list");
            assert!(aborted.iter().all(|one| one.first_offset <= last));
            told.push(aborted.len());
        }
    }
    assert!(told.contains(&0) && told.contains(&3), "{told:?}");
    world.broker.stop().await;
}

#[tokio::test]
async fn what_is_damaged_is_a_storage_error_and_what_lies_around_it_is_sent() {
    const KAFKA_STORAGE_ERROR: i16 = 56;
    let folder = Folder::new("cold");
    filled(&folder, 1, 3, 60_000).await;
    let log = folder.0.join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&log).expect("the log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).expect("written");
    let world = start(&folder);
    let partition = world.broker.node().partition("t", 0).expect("there");
    // Once it is sent as it is, and then it is found.
    assert_eq!(offsets(&by_socket(&world, &limited(1, 1)).await), [[1]]);
    let is_found = async {
        while partition.damaged().is_empty() {
            world.pass_ms(1_000).await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, is_found).await;
    in_time.expect("the scrub finds it");
    for limit in [1, 64 << 20] {
        assert_eq!(offsets(&by_socket(&world, &limited(0, limit)).await), [[0]]);
        assert_eq!(offsets(&by_socket(&world, &limited(2, limit)).await), [[2]]);
        let sent = by_socket(&world, &limited(1, limit)).await;
        let told = body(&sent).responses[0].partitions[0].error_code;
        assert_eq!(told, KAFKA_STORAGE_ERROR);
    }
    assert!(from_files(&world) > 0);
    world.broker.stop().await;
}

/// Has the answer to a read of all begin, and waits until the socket has taken what it takes.
async fn begun(world: &World) -> (TcpStream, usize) {
    let mut stream = connect(world).await;
    ask(&mut stream, &limited(0, 64 << 20)).await;
    let begin = async {
        let length = stream.read_u32().await.expect("a length") as usize;
        let mut some = [0; 1_000];
        stream.read_exact(&mut some).await.expect("a beginning");
        length - some.len()
    };
    let left = tokio::time::timeout(DEADLINE, begin).await;
    (stream, left.expect("an answer in time"))
}

/// Reads on to the end of an answer, or to that of the connection; how much came.
async fn rest(stream: &mut TcpStream, left: usize) -> usize {
    let mut came = 0;
    let reading = async {
        let mut some = vec![0; 64 << 10];
        while came < left {
            match stream.read(&mut some).await {
                Ok(0) | Err(_) => break,
                Ok(n) => came += n,
            }
        }
    };
    let read = tokio::time::timeout(DEADLINE, reading).await;
    read.expect("it ends");
    came
}

/// Until nobody is connected any more.
async fn until_alone(world: &World) {
    let alone = async {
        while world.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let alone = tokio::time::timeout(DEADLINE, alone).await;
    alone.expect("the connection ends");
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_midst_of_a_file_is_forgotten() {
    let folder = Folder::new("cold");
    let world = cold(&folder, 1, 60, 60_000).await;
    let (stream, left) = begun(&world).await;
    assert!(left > 3_000_000);
    drop(stream);
    until_alone(&world).await;
    let request = limited(3, 200_000);
    assert_eq!(offsets(&by_socket(&world, &request).await)[0][0], 3);
    world.broker.stop().await;
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_sent_ends_the_connection_and_no_answer_is_too_short() {
    let folder = Folder::new("cold");
    let world = cold(&folder, 1, 60, 60_000).await;
    let (mut stream, left) = begun(&world).await;
    let log = folder.0.join("t-0/00000000000000000000.log");
    let file = fs::OpenOptions::new().write(true).open(&log).expect("log");
    file.set_len(100_000).expect("cut");
    assert!(rest(&mut stream, left).await < left);
    until_alone(&world).await;
    // What is left is served, and what is not is an error.
    assert_eq!(offsets(&by_socket(&world, &limited(0, 1)).await), [[0]]);
    let sent = by_socket(&world, &limited(30, 1)).await;
    let told = &body(&sent).responses[0].partitions[0];
    assert_eq!(told.records.as_ref().map_or(0, |records| records.len()), 0);
    world.broker.stop().await;
}

#[tokio::test]
async fn a_segment_that_goes_while_it_is_sent_is_sent_to_its_end() {
    let folder = Folder::new("cold");
    let world = cold(&folder, 1, 60, 60_000).await;
    let whole = in_memory(&world, &limited(0, 64 << 20)).await;
    let (mut stream, left) = begun(&world).await;
    let partition = world.broker.node().partition("t", 0).expect("there");
    partition.delete_records(60).expect("all go");
    let log = folder.0.join("t-0/00000000000000000000.log");
    let gone = async {
        while log.exists() {
            world.pass_ms(1_000).await;
        }
    };
    let gone = tokio::time::timeout(DEADLINE, gone).await;
    gone.expect("the file goes");
    assert_eq!(rest(&mut stream, left).await, left);
    assert_eq!(left + 1_000, whole.len());
    world.broker.stop().await;
}
