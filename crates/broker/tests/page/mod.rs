//! Asks the HTTP port as a browser does.
#![allow(
    dead_code,
    reason = "each test file includes this one and uses its own part of it"
)]

use crate::common::World;
use rustka::net::transport::MemoryStream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A browser on this machine.
pub struct Page<'a>(pub &'a World);

pub struct Answered {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

impl Page<'_> {
    pub async fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, "", None).await
    }

    pub async fn send(&self, method: &str, path: &str, body: Value) -> Answered {
        self.ask(method, path, "", Some(body.to_string())).await
    }

    /// One request over a connection of its own, with more headers.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        more: &str,
        body: Option<String>,
    ) -> Answered {
        let mut stream: MemoryStream = self.0.broker.connect_http();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{more}");
        if !more.contains("host:") {
            head.push_str("host: localhost\r\n");
        }
        if let Some(body) = &body {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
            if !more.contains("content-type") {
                head.push_str("content-type: application/json\r\n");
            }
        }
        head.push_str("\r\n");
        let request = head + body.as_deref().unwrap_or_default();
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("it answers");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (headers, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = headers.split(' ').nth(1).expect("a status");
        Answered {
            status: status.parse().expect("a number"),
            headers: headers.to_ascii_lowercase(),
            body: unchunked(headers, body),
        }
    }
}

/// An answer that goes on, such as events.
pub struct Stream {
    connection: MemoryStream,
    text: String,
}

impl Stream {
    pub async fn open(world: &World, path: &str, more: &str) -> Stream {
        let mut connection = world.broker.connect_http();
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
        connection
            .write_all(head.as_bytes())
            .await
            .expect("it reads");
        let text = String::new();
        Stream { connection, text }
    }

    /// Reads until this has come, and takes everything up to there.
    pub async fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.text.find(wanted) {
                return self.text.drain(..at + wanted.len()).collect();
            }
            assert!(self.read().await, "{wanted} never came: {}", self.text);
        }
    }

    /// Reads to the end of the answer.
    pub async fn end(&mut self) -> String {
        while !self.text.contains("\r\n0\r\n\r\n") && self.read().await {}
        std::mem::take(&mut self.text)
    }

    /// Whether more came.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let reading = self.connection.read(&mut bytes);
        let deadline = std::time::Duration::from_secs(60);
        let count = tokio::time::timeout(deadline, reading).await;
        let count = count.unwrap_or_else(|_| panic!("nothing more came after {}", self.text));
        let count = count.expect("it goes on");
        self.text
            .push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }
}

/// The headers with which whoever logs in as this user asks from then on.
pub async fn logged_in(page: &Page<'_>, user: &str, password: &str) -> String {
    let body = json!({ "user": user, "password": password });
    let entered = page.send("POST", "/api/v1/session", body).await;
    assert_eq!(entered.status, 204, "{}", entered.body);
    let mut lines = entered.headers.lines();
    let cookie = lines.find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next());
    format!("cookie: {}\r\n", cookie.expect("a cookie"))
}

fn unchunked(headers: &str, body: &str) -> String {
    if !headers
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return body.to_owned();
    }
    let (mut out, mut rest) = (String::new(), body);
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            break;
        }
        out.push_str(&after[..length]);
        rest = &after[length + 2..];
    }
    out
}

/// Makes a topic and writes records to it, round its partitions.
pub async fn filled(page: &Page<'_>, topic: &str, partitions: i32, records: i32) {
    let made = json!({ "name": topic, "partitions": partitions });
    assert_eq!(page.send("POST", "/api/v1/topics", made).await.status, 201);
    let path = format!("/api/v1/topics/{topic}/records");
    for n in 0..records {
        let record = json!({
            "partition": n % partitions,
            "key": format!("k{n}"),
            "value": format!("{{\"n\":{n}}}"),
            "timestamp": 1_000 + n,
        });
        assert_eq!(page.send("POST", &path, record).await.status, 201);
    }
}
