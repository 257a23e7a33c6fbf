//! Frames that lie, each by a little: the reader must notice before it costs more than the frame weighs. A length one too
//! long shows a guard as well as a giant one, and does no harm where there is none.

use rustka_wire::api::request_header_version;
use rustka_wire::create_topics_request::CreateTopicsRequest;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::request_header::RequestHeader;
use rustka_wire::{Decode, DecodeError, Reader, Uuid, Writer};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hex");
            u8::from_str_radix(pair, 16).expect("hex")
        })
        .collect()
}

/// Reads a header and then the body `T`, as a broker does.
fn read<T: for<'a> Decode<'a>>(hex: &str) -> Option<DecodeError> {
    let frame = bytes(hex);
    let mut reader = Reader::new(&frame);
    let mut peek = reader.clone();
    let (Ok(key), Ok(version)) = (peek.i16(), peek.i16()) else {
        return Some(DecodeError::Truncated);
    };
    let header = request_header_version(key, version);
    if let Err(why) = RequestHeader::decode(&mut reader, header) {
        return Some(why);
    }
    T::decode(&mut reader, version).err()
}

/// `Decode` cannot be asked for all lifetimes of a borrowing type, so these own what they read.
macro_rules! owned {
    ($name:ident, $message:ident) => {
        struct $name;
        impl<'a> Decode<'a> for $name {
            fn decode(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
                $message::decode(r, version).map(|_| Self)
            }
        }
    };
}

owned!(Metadata, MetadataRequest);
owned!(CreateTopics, CreateTopicsRequest);
owned!(Produce, ProduceRequest);

/// Attacks, row 16: one element more than the frame has room for is as bad as a billion more.
#[test]
fn an_array_longer_than_its_frame_is_refused() {
    let refused = Some(DecodeError::InvalidLength);
    // One topic, and no byte for it.
    assert_eq!(
        read::<Metadata>("0003 0001 00000007 ffff 00000001"),
        refused
    );
    assert_eq!(read::<Metadata>("0003 000c 00000007 ffff 00 02"), refused);
    // Two topics, and the bytes of one.
    assert_eq!(
        read::<Metadata>("0003 0001 00000007 ffff 00000002 0000"),
        refused
    );
    assert_eq!(
        read::<CreateTopics>("0013 0002 00000007 ffff 00000001"),
        refused
    );
    assert_eq!(
        read::<Produce>("0000 0003 00000007 ffff ffff 0001 00000000 00000001"),
        refused
    );
}

#[test]
fn a_text_or_bytes_longer_than_the_frame_are_refused() {
    let refused = Err(DecodeError::InvalidLength);
    let mut held = "0002 61".to_owned();
    assert_eq!(Reader::new(&bytes(&held)).string(false), refused);
    held.push_str("62");
    assert_eq!(Reader::new(&bytes(&held)).string(false), Ok("ab".into()));
    assert_eq!(Reader::new(&bytes("03 61")).string(true), refused);
    let refused = Err(DecodeError::InvalidLength);
    assert_eq!(Reader::new(&bytes("00000002 61")).bytes(false), refused);
    assert_eq!(Reader::new(&bytes("03 61")).bytes(true), refused);
    // A client id of two bytes in a header that ends after one.
    assert_eq!(
        read::<Metadata>("0003 0001 00000007 0002 61"),
        Some(DecodeError::InvalidLength)
    );
}

#[test]
fn a_negative_length_other_than_null_is_refused() {
    let refused = Some(DecodeError::InvalidLength);
    assert_eq!(
        read::<Metadata>("0003 0001 00000007 fffe 00000000"),
        refused
    );
    assert_eq!(
        read::<Metadata>("0003 0001 00000007 ffff fffffffe"),
        refused
    );
}

#[test]
fn a_header_of_one_byte_is_refused() {
    assert_eq!(
        RequestHeader::decode(&mut Reader::new(&[0]), 2),
        Err(DecodeError::Truncated)
    );
    assert_eq!(
        RequestHeader::decode(&mut Reader::new(&[]), 1),
        Err(DecodeError::Truncated)
    );
    assert_eq!(Reader::new(&[0]).take(2), Err(DecodeError::Truncated));
}

#[test]
fn null_where_the_version_has_none_is_refused() {
    // Metadata v0 has no null topics: an empty list asks for all.
    let refused = Some(DecodeError::UnexpectedNull);
    assert_eq!(
        read::<Metadata>("0003 0000 00000007 ffff ffffffff"),
        refused
    );
    let refused = DecodeError::UnexpectedNull;
    assert_eq!(Reader::new(&[0xff; 2]).string(false), Err(refused));
    assert_eq!(Reader::new(&[0]).string(true), Err(refused));
    assert_eq!(Reader::new(&[0]).bytes(true), Err(refused));
}

/// Attacks, row 19: a zero that takes a byte more than any number does, and a bit more than 32.
#[test]
fn a_varint_that_is_too_long_is_refused() {
    for long in ["808080808000", "808080808001", "8080808010"] {
        let read = Reader::new(&bytes(long)).uvarint();
        assert_eq!(read, Err(DecodeError::InvalidVarint), "{long}");
    }
    let most = Reader::new(&bytes("8080808008")).uvarint();
    assert_eq!(most, Ok(1 << 31));
    assert_eq!(
        Reader::new(&bytes("8080")).uvarint(),
        Err(DecodeError::Truncated)
    );
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let refused = Some(DecodeError::InvalidUtf8);
    assert_eq!(
        read::<Metadata>("0003 0001 00000007 ffff 00000001 0002 c328"),
        refused
    );
}

/// Attacks, row 17: two bytes per topic in the frame, but far more in memory.
#[test]
fn arrays_that_cost_more_than_the_budget_are_refused() {
    let topics = 100;
    let mut frame = Writer::new();
    frame.i32(topics);
    frame.raw(&vec![0; topics as usize * 2]);
    let exact = topics as usize * size_of::<MetadataRequestTopic<'_>>();
    let mut scant = Reader::with_budget(&frame.buf, exact - 1);
    let read = MetadataRequest::decode(&mut scant, 1);
    assert_eq!(read, Err(DecodeError::OverBudget));

    let mut enough = Reader::with_budget(&frame.buf, exact);
    let read = MetadataRequest::decode(&mut enough, 1).expect("a hundred empty names");
    assert_eq!(read.topics.map(|topics| topics.len()), Some(100));
}

#[test]
fn the_budget_is_for_all_arrays_of_a_message_together() {
    let frame = bytes("00000001 0001 61 00000001 00000005");
    let partitions = |r: &mut Reader<'_>| r.array(false, 4, Reader::i32);
    let topics = |mut r: Reader<'_>| {
        r.array(false, 6, |r| {
            r.string(false)?;
            partitions(r)
        })
    };
    let exact = size_of::<Vec<i32>>() + size_of::<i32>();
    assert_eq!(
        topics(Reader::with_budget(&frame, exact)),
        Ok(vec![vec![5]])
    );
    assert_eq!(
        topics(Reader::with_budget(&frame, exact - 1)),
        Err(DecodeError::OverBudget)
    );
}

#[test]
fn tagged_fields_stay_within_their_size() {
    // Fetch v12 and later tag ClusterId with 0: here its string claims more than the tag's two bytes.
    let mut frame = Writer::new();
    FetchRequest::default().encode(&mut frame, 13);
    let without_tags = frame.buf.len() - 1;
    let with = |tags: &str| {
        let mut bytes_of_frame = frame.buf[..without_tags].to_vec();
        bytes_of_frame.extend(bytes(tags));
        let mut reader = Reader::new(&bytes_of_frame);
        let read = FetchRequest::decode(&mut reader, 13);
        read.map(|request| {
            (
                request.cluster_id.map(|id| id.into_owned()),
                reader.remaining(),
            )
        })
    };
    assert_eq!(with("01 00 02 02 61"), Ok((Some("a".to_owned()), 0)));
    assert_eq!(with("01 00 02 03 61 61"), Err(DecodeError::InvalidLength));
    assert_eq!(with("01 00 03 02 61 61"), Err(DecodeError::InvalidTag));
    assert_eq!(with("01 00 03 02 61"), Err(DecodeError::Truncated));
    assert_eq!(with("02 00 02 02 61"), Err(DecodeError::Truncated));
    // A tag nobody knows is skipped.
    assert_eq!(with("02 63 03 010203 64 00"), Ok((None, 0)));
}

#[test]
fn a_uuid_is_exactly_sixteen_bytes_of_base64() {
    let text = "ASNFZ4mrze_-3LqYdlQAAQ";
    let uuid: Uuid = text.parse().expect("uuid");
    assert_eq!(uuid.to_string(), text);
    assert_eq!("AAAAAAAAAAAAAAAAAAAAAA".parse(), Ok(Uuid::ZERO));
    for wrong in [
        "",
        "AAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "ASNFZ4mrze/+3LqYdlQAAQ",
        "é",
    ] {
        assert!(wrong.parse::<Uuid>().is_err(), "{wrong}");
    }
}

/// The list of the reader's guards: each reason to refuse, and how to be refused for it. A new reason does not compile
/// without a place here.
#[test]
fn every_reason_to_refuse_has_a_frame_that_meets_it() {
    let number = |reason| match reason {
        DecodeError::Truncated => 0,
        DecodeError::InvalidLength => 1,
        DecodeError::UnexpectedNull => 2,
        DecodeError::InvalidVarint => 3,
        DecodeError::InvalidUtf8 => 4,
        DecodeError::InvalidTag => 5,
        DecodeError::OverBudget => 6,
        DecodeError::UnsupportedVersion => 7,
    };
    let metadata = |version, hex: &str, budget| {
        let frame = bytes(hex);
        let mut reader = Reader::with_budget(&frame, budget);
        let reason = MetadataRequest::decode(&mut reader, version).err();
        number(reason.expect("a refusal"))
    };
    let met = [
        metadata(1, "000000", 1000),
        metadata(1, "00000002 0000", 1000),
        metadata(0, "ffffffff", 1000),
        metadata(9, "808080808000", 1000),
        metadata(1, "00000001 0001 ff", 1000),
        number({
            let frame = bytes("01 00 02 00 00");
            let mut reader = Reader::new(&frame);
            let read = reader.tags(|r, _| r.bool().map(|_| true));
            read.expect_err("one byte of the tag is left")
        }),
        metadata(1, "00000001 0000", 1),
        metadata(99, "00000000", 1000),
    ];
    assert_eq!(met, [0, 1, 2, 3, 4, 5, 6, 7]);
}
