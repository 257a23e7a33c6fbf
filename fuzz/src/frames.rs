//! Requests of any key and version: first through the decoders alone, then into a broker.

use super::memory;
use rustka::net::transport::MemoryStream;
use rustka::{Broker, Clock};
use rustka_wire::api::{ApiKey, request_header_version};
use rustka_wire::json::MESSAGES;
use rustka_wire::request_header::RequestHeader;
use rustka_wire::{Reader, Writer};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Frames of one input; more only make it slow.
const FRAMES_MAX: usize = 16;
/// What a few kilobytes may make a broker hold at most: the decoder's budget for elements, and as much for the rest.
const PEAK_BYTES_MAX: usize = 64 << 20;
/// Where the broker's clock stands.
const WALL_MS: i64 = 1_700_000_000_000;
/// Turns that all tasks get after the last byte.
const SETTLE_TURNS: usize = 64;

/// Frames as one input: each behind its length in two bytes.
pub fn join<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut input = Vec::new();
    for frame in frames {
        input.extend((frame.len() as u16).to_be_bytes());
        input.extend(frame);
    }
    input
}

/// The frames of an input. A length beyond the end means the rest, so that any bytes are frames.
fn split(mut input: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (frame, rest) = rest.split_at(length);
        frames.push(frame);
        input = rest;
        if frames.len() == FRAMES_MAX {
            break;
        }
    }
    frames
}

/// Whatever comes, the broker answers or hangs up, goes on serving others, and holds little for it.
pub fn frames(data: &[u8]) {
    let frames = split(data);
    let before = memory::start();
    for frame in &frames {
        decode(frame);
    }
    serve(&frames);
    let cost = memory::peak().saturating_sub(before);
    assert!(
        cost <= PEAK_BYTES_MAX,
        "{cost} bytes of memory for {}",
        data.len()
    );
}

/// What decodes, encodes, and is the same when decoded again.
fn decode(frame: &[u8]) {
    let mut reader = Reader::new(frame);
    let mut peek = reader.clone();
    let (Ok(key), Ok(version)) = (peek.i16(), peek.i16()) else {
        return;
    };
    if RequestHeader::decode(&mut reader, request_header_version(key, version)).is_err() {
        return;
    }
    let Some(api) = ApiKey::find(key) else {
        return;
    };
    let name = format!("{}Request", api.name);
    let Some(message) = MESSAGES.iter().find(|message| message.name == name) else {
        return;
    };
    let Ok(tree) = (message.decode)(&mut reader, version) else {
        return;
    };
    let mut writer = Writer::new();
    (message.encode)(&tree, &mut writer, version).expect("a tree that was read can be written");
    let again = (message.decode)(&mut Reader::with_budget(&writer.buf, usize::MAX), version);
    assert_eq!(again.as_ref(), Ok(&tree), "{name} v{version}");
}

fn serve(frames: &[&[u8]]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let clock = Clock::manual(WALL_MS);
        let broker = Broker::builder()
            .sockets(false)
            .clock(clock.clone())
            .memory_limit(64 << 20)
            .config("offsets.topic.num.partitions", "2")
            .start()
            .expect("a broker");
        let mut client = broker.connect();
        for frame in frames {
            let length = (frame.len() as u32).to_be_bytes();
            // The broker may have hung up, and may have more to say than the pipe holds.
            if client.write_all(&length).await.is_err() || client.write_all(frame).await.is_err() {
                break;
            }
            settle(&mut client).await;
        }
        clock.advance(Duration::from_secs(60));
        settle(&mut client).await;
        drop(client);
        assert!(answers(&broker).await, "the broker serves the next client");
    });
}

/// Lets all tasks run, and takes whatever is answered.
async fn settle(client: &mut MemoryStream) {
    let mut sink = [0; 4096];
    for _ in 0..SETTLE_TURNS {
        tokio::task::yield_now().await;
        loop {
            let read = client.read(&mut sink);
            let n = tokio::select! {
                biased;
                read = read => read.unwrap_or(0),
                () = std::future::ready(()) => 0,
            };
            if n == 0 {
                break;
            }
        }
    }
}

/// ApiVersions from another connection.
async fn answers(broker: &Broker) -> bool {
    let mut client = broker.connect();
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let mut answer = [0; 8];
    client.write_all(&request).await.is_ok()
        && client.read_exact(&mut answer).await.is_ok()
        && answer[4..] == [0, 0, 0, 7]
}
