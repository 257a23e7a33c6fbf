//! Frames made to exhaust memory or to confuse the reader. Each must be refused before it costs more than it weighs.

use rustka_wire::api::request_header_version;
use rustka_wire::create_topics_request::CreateTopicsRequest;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::metadata_request::MetadataRequest;
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

/// Attacks, row 16.
#[test]
fn an_array_longer_than_its_frame_is_refused() {
    let refused = Some(DecodeError::InvalidLength);
    assert_eq!(
        read::<Metadata>("0003 0001 00000007 ffff 7fffffff"),
        refused
    );
    assert_eq!(
        read::<Metadata>("0003 000c 00000007 ffff 00 ffffffff0f"),
        refused
    );
    assert_eq!(
        read::<CreateTopics>("0013 0002 00000007 ffff 7fffffff"),
        refused
    );
    assert_eq!(
        read::<Produce>("0000 0003 00000007 ffff ffff 0001 00000000 7fffffff"),
        refused
    );
    assert_eq!(
        read::<Metadata>("0003000100000007ffff2e00000001000161"),
        refused
    );
}

#[test]
fn a_negative_length_other_than_null_is_refused() {
    let refused = Some(DecodeError::InvalidLength);
    assert_eq!(
        read::<Metadata>("0003 0001 00000007 ffff 80000000"),
        refused
    );
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
}

#[test]
fn null_where_the_version_has_none_is_refused() {
    // Metadata v0 has no null topics: an empty list asks for all.
    let refused = Some(DecodeError::UnexpectedNull);
    assert_eq!(
        read::<Metadata>("0003 0000 00000007 ffff ffffffff"),
        refused
    );
}

/// Attacks, row 19.
#[test]
fn a_varint_without_end_is_refused() {
    for endless in ["ffffffffff", "ffffffffff01", "ffffffff10", "808080808001"] {
        let read = Reader::new(&bytes(endless)).uvarint();
        assert_eq!(read, Err(DecodeError::InvalidVarint), "{endless}");
    }
    assert_eq!(Reader::new(&bytes("ffffffff0f")).uvarint(), Ok(u32::MAX));
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

/// Attacks, row 17.
#[test]
fn arrays_that_cost_more_than_the_budget_are_refused() {
    // Two bytes per topic in the frame, but far more in memory.
    let topics = 1_000_000;
    let mut frame = Writer::new();
    frame.i32(topics);
    frame.raw(&vec![0; topics as usize * 2]);
    let read = MetadataRequest::decode(&mut Reader::new(&frame.buf), 1);
    assert_eq!(read, Err(DecodeError::OverBudget));

    let mut generous = Reader::with_budget(&frame.buf, usize::MAX);
    let read = MetadataRequest::decode(&mut generous, 1).expect("a million empty names");
    assert_eq!(read.topics.map(|topics| topics.len()), Some(1_000_000));
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
    assert_eq!(with("01 00 7f 02 61"), Err(DecodeError::Truncated));
    assert_eq!(with("ffffffff0f"), Err(DecodeError::Truncated));
    // A tag nobody knows is skipped.
    assert_eq!(with("02 63 03 010203 ffffffff0f 00"), Ok((None, 0)));
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
