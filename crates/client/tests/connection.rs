//! One connection: to a broker in this process, and to peers that answer otherwise than they should.

use rustka::Broker;
use rustka_client::{
    Address, BoxFuture, BoxStream, Channel, ClientOptions, Connection, Login, SystemClock,
};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::{ApiVersion, ApiVersionsResponse};
use rustka_wire::heartbeat_request::HeartbeatRequest;
use rustka_wire::heartbeat_response::HeartbeatResponse;
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::metadata_response::MetadataResponse;
use rustka_wire::response_header::ResponseHeader;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use rustka_wire::sasl_handshake_response::SaslHandshakeResponse;
use rustka_wire::{Encode, Writer};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// Longer than anything here takes; reached only by tests that fail.
const LIMIT_MS: i64 = 60_000;

fn broker() -> Broker {
    Broker::builder().sockets(false).start().expect("a broker")
}

fn client(stream: impl rustka_client::Stream + 'static) -> Connection<BoxStream> {
    Connection::over(Box::new(stream), "a:1", "test")
}

fn channel(connection: Connection<BoxStream>) -> Channel {
    Channel::over(connection, Arc::new(SystemClock::default()))
}

/// The far end of a connection, as a test plays it.
struct Peer(DuplexStream);

impl Peer {
    fn new() -> (Peer, Connection<BoxStream>) {
        let (near, far) = duplex(1 << 16);
        (Peer(far), client(near))
    }

    /// Version and number of the next request.
    async fn request(&mut self) -> (i16, i32) {
        let length = self.0.read_u32().await.expect("a request");
        let mut bytes = vec![0; length as usize];
        self.0.read_exact(&mut bytes).await.expect("all of it");
        let version = i16::from_be_bytes([bytes[2], bytes[3]]);
        (version, i32::from_be_bytes(bytes[4..8].try_into().unwrap()))
    }

    async fn answer_bytes(&mut self, correlation: i32, body: &[u8]) {
        let length = u32::try_from(4 + body.len()).expect("a short answer");
        let all = [&length.to_be_bytes(), &correlation.to_be_bytes(), body].concat();
        self.0.write_all(&all).await.expect("a reader");
    }

    async fn answer(&mut self, correlation: i32, header: i16, version: i16, body: &impl Encode) {
        let mut w = Writer::new();
        w.begin_frame();
        ResponseHeader {
            correlation_id: correlation,
        }
        .encode(&mut w, header);
        body.encode(&mut w, version);
        w.end_frame();
        self.0.write_all(&w.buf).await.expect("a reader");
    }
}

fn speaks(error_code: i16, max_version: i16) -> ApiVersionsResponse<'static> {
    let row = ApiVersion {
        api_key: ApiVersionsRequest::KEY,
        min_version: 0,
        max_version,
    };
    ApiVersionsResponse {
        error_code,
        api_keys: vec![row],
        ..Default::default()
    }
}

#[tokio::test]
async fn what_a_broker_speaks_is_asked_and_then_spoken() {
    let broker = broker();
    let mut connection = client(broker.connect());
    connection.negotiate().await.unwrap();
    assert_eq!(
        connection.versions().range(MetadataRequest::KEY),
        Some((0, 13))
    );
    let answer = connection.call(&MetadataRequest::default()).await.unwrap();
    assert_eq!(answer.version(), 13);
    assert_eq!(answer.body().unwrap().brokers.len(), 1);
}

/// Kafka answers a version of ApiVersions it does not know in the oldest form, with the range it does know (KIP-511).
#[tokio::test]
async fn a_broker_that_does_not_know_the_question_is_asked_again() {
    let (mut peer, mut connection) = Peer::new();
    let answering = async {
        let (first, correlation) = peer.request().await;
        peer.answer(correlation, 0, 0, &speaks(35, 2)).await;
        let (second, correlation) = peer.request().await;
        peer.answer(correlation, 0, second, &speaks(0, 2)).await;
        (first, second)
    };
    let (asked, outcome) = tokio::join!(answering, connection.negotiate());
    outcome.unwrap();
    assert_eq!(asked, (ApiVersionsRequest::MAX_VERSION, 2));
    let unknown = connection
        .call(&MetadataRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "a:1: the broker does not know Metadata, of which version 0 to 13 is needed"
    );
}

#[tokio::test]
async fn a_broker_that_knows_no_version_ends_the_negotiation() {
    let (mut peer, mut connection) = Peer::new();
    let answering = async {
        for _ in 0..2 {
            let (_, correlation) = peer.request().await;
            peer.answer(correlation, 0, 0, &speaks(35, 0)).await;
        }
    };
    let ((), outcome) = tokio::join!(answering, connection.negotiate());
    let told = outcome.unwrap_err().to_string();
    assert!(told.contains("UNSUPPORTED_VERSION"), "{told}");
}

#[tokio::test]
async fn calls_that_share_a_connection_each_get_their_own_answer() {
    let (mut peer, connection) = Peer::new();
    let channel = channel(connection);
    let answering = async {
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.push(peer.request().await);
        }
        for (throttle_time_ms, (version, correlation)) in (1..).zip(asked) {
            let answer = HeartbeatResponse {
                throttle_time_ms,
                ..Default::default()
            };
            peer.answer(correlation, 1, version, &answer).await;
        }
    };
    let request = HeartbeatRequest::default();
    let call = async || {
        let answer = channel.call_in(4, &request, LIMIT_MS).await.unwrap();
        answer.body().unwrap().throttle_time_ms
    };
    let (a, b, c, ()) = tokio::join!(call(), call(), call(), answering);
    assert_eq!((a, b, c), (1, 2, 3));
}

/// The one who looked at the stream last is the one it wakes.
#[tokio::test]
async fn the_others_are_answered_when_one_stops_waiting() {
    let (mut peer, connection) = Peer::new();
    let channel = channel(connection);
    let ask = |channel: Channel| {
        tokio::spawn(async move {
            let request = HeartbeatRequest::default();
            let answer = channel.call_in(4, &request, LIMIT_MS).await?;
            answer.body().map(|body| body.throttle_time_ms)
        })
    };
    let (patient, given_up) = (ask(channel.clone()), ask(channel.clone()));
    let asked = [peer.request().await, peer.request().await];
    given_up.abort();
    assert!(given_up.await.is_err());
    // The answer that nobody waits for any more does not stand in the way of the next.
    let late = ask(channel);
    for (throttle_time_ms, (version, correlation)) in (1..).zip(asked) {
        let answer = HeartbeatResponse {
            throttle_time_ms,
            ..Default::default()
        };
        peer.answer(correlation, 1, version, &answer).await;
    }
    assert_eq!(patient.await.unwrap().unwrap(), 1);
    let (version, correlation) = peer.request().await;
    peer.answer(correlation, 1, version, &HeartbeatResponse::default())
        .await;
    assert_eq!(late.await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_late_answer_ends_the_channel_for_all() {
    let (peer, connection) = Peer::new();
    let channel = channel(connection);
    let request = HeartbeatRequest::default();
    let late = channel.call_in(4, &request, 10).await.unwrap_err();
    let told =
        "a:1: no answer to Heartbeat within 10 ms; is the broker busy, or the time too short?";
    assert_eq!(late.to_string(), told);
    assert!(channel.has_ended());
    let after = channel.call_in(4, &request, LIMIT_MS).await.unwrap_err();
    assert_eq!(after.to_string(), told);
    drop(peer);
}

#[tokio::test]
async fn a_hang_up_is_told_to_all_who_wait() {
    let (mut peer, connection) = Peer::new();
    let channel = channel(connection);
    let request = HeartbeatRequest::default();
    let hanging_up = async {
        peer.request().await;
        drop(peer);
    };
    let (a, b, ()) = tokio::join!(
        channel.call_in(4, &request, LIMIT_MS),
        channel.call_in(4, &request, LIMIT_MS),
        hanging_up,
    );
    for error in [a.unwrap_err(), b.unwrap_err()] {
        assert!(error.is_retriable(), "{error}");
        assert!(error.to_string().starts_with("a:1: "), "{error}");
    }
}

#[tokio::test]
async fn an_answer_to_another_request_is_not_taken() {
    let (mut peer, mut connection) = Peer::new();
    let answering = async {
        let (version, correlation) = peer.request().await;
        let answer = HeartbeatResponse::default();
        peer.answer(correlation + 1, 1, version, &answer).await;
    };
    let request = HeartbeatRequest::default();
    let (outcome, ()) = tokio::join!(connection.call_in(4, &request), answering);
    let told = outcome.unwrap_err().to_string();
    assert!(told.contains("it has the number 2, not 1"), "{told}");
}

/// A broker may answer before it has read all of a large request, and both sides wait for each other if nobody reads.
#[tokio::test]
async fn sending_and_receiving_go_on_side_by_side() {
    let (near, far) = duplex(64);
    let mut connection = client(near);
    let (mut reader, mut writer) = tokio::io::split(far);
    let echo = async { tokio::io::copy(&mut reader, &mut writer).await };
    let request = HeartbeatRequest {
        group_id: "g".repeat(10_000).into(),
        ..Default::default()
    };
    let echoed = async {
        connection.queue(4, &request);
        let frame = connection.next_frame().await.unwrap().unwrap();
        frame.bytes().len()
    };
    tokio::select! {
        length = echoed => assert!(length > 10_000),
        _ = echo => panic!("the connection ended"),
    }
}

#[tokio::test]
async fn an_answer_that_announces_more_than_it_holds_is_refused() {
    let (mut peer, mut connection) = Peer::new();
    let answering = async {
        let (version, correlation) = peer.request().await;
        let mut w = Writer::new();
        MetadataResponse::default().encode(&mut w, version);
        // The list of brokers comes first, and is said to have one.
        w.buf[3] = 1;
        peer.answer_bytes(correlation, &w.buf).await;
    };
    let request = MetadataRequest::default();
    let (answer, ()) = tokio::join!(connection.call_in(1, &request), answering);
    let told = answer.unwrap().body().unwrap_err().to_string();
    assert!(
        told.starts_with("the answer to Metadata is malformed: "),
        "{told}"
    );
}

/// A login that asks for something before anybody else may.
struct AsksFirst;

impl Login for AsksFirst {
    fn login<'a>(
        &'a self,
        connection: &'a mut Connection<BoxStream>,
    ) -> BoxFuture<'a, rustka_client::Result<()>> {
        Box::pin(async move {
            let request = SaslHandshakeRequest {
                mechanism: "PLAIN".into(),
            };
            let answer = connection.call(&request).await?;
            assert_eq!(answer.body()?.mechanisms, ["PLAIN"]);
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_login_comes_after_the_versions_and_before_the_first_request() {
    let (near, far) = duplex(1 << 16);
    let near = Mutex::new(Some(near));
    let dial = move |_: &Address| {
        let stream = near.lock().expect("a stream").take();
        stream.ok_or_else(|| std::io::ErrorKind::ConnectionRefused.into())
    };
    let options = ClientOptions::new(vec![Address::new("a", 1)], dial);
    let client = options.login(AsksFirst).client();
    let mut peer = Peer(far);
    let answering = async {
        let row = |api_key, max_version| ApiVersion {
            api_key,
            min_version: 0,
            max_version,
        };
        let versions = ApiVersionsResponse {
            api_keys: vec![
                row(SaslHandshakeRequest::KEY, 1),
                row(MetadataRequest::KEY, 8),
            ],
            ..Default::default()
        };
        let (version, correlation) = peer.request().await;
        peer.answer(correlation, 0, version, &versions).await;
        let (version, correlation) = peer.request().await;
        let mechanisms = SaslHandshakeResponse {
            mechanisms: vec!["PLAIN".into()],
            ..Default::default()
        };
        peer.answer(correlation, 0, version, &mechanisms).await;
        let (version, correlation) = peer.request().await;
        let answer = MetadataResponse::default();
        peer.answer(correlation, 0, version, &answer).await;
        version
    };
    let (metadata, version) = tokio::join!(client.metadata(Some(&[])), answering);
    assert!(metadata.unwrap().brokers.is_empty());
    assert_eq!(version, 8);
}
