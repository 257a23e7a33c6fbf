//! Record batches sent from elsewhere: the frame accounts for them without holding them.

use std::borrow::Cow;

use rustka_wire::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use rustka_wire::{Reader, Records, Splice, Writer};

fn response(records: [Records<'_>; 2]) -> FetchResponse<'_> {
    let partitions = records.map(|records| PartitionData {
        records: Some(records),
        ..PartitionData::default()
    });
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: Cow::Borrowed("t"),
            partitions: partitions.into(),
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

#[test]
fn a_spliced_frame_is_the_copied_frame_with_gaps() {
    let (first, second) = (b"first batch".as_slice(), [7u8; 300].as_slice());
    for version in [4, 11, 12, FetchResponse::MAX_VERSION] {
        let mut copied = Writer::new();
        copied.begin_frame();
        response([first.into(), second.into()]).encode(&mut copied, version);
        copied.end_frame();

        let mut spliced = Writer::new();
        spliced.begin_frame();
        let slots = [
            Records::Spliced { slot: 1, len: 11 },
            Records::Spliced { slot: 0, len: 300 },
        ];
        response(slots).encode(&mut spliced, version);
        spliced.end_frame();
        assert_eq!(spliced.total_len(), copied.buf.len());

        let sources = [second, first];
        let mut sent = Vec::new();
        let mut from = 0;
        for Splice { at, slot, len } in spliced.splices {
            sent.extend_from_slice(&spliced.buf[from..at]);
            sent.extend_from_slice(&sources[slot as usize][..len as usize]);
            from = at;
        }
        sent.extend_from_slice(&spliced.buf[from..]);
        assert_eq!(sent, copied.buf, "v{version}");
    }
}

#[test]
fn an_owned_message_outlives_its_frame() {
    let mut frame = Writer::new();
    response([b"one".as_slice().into(), b"two".as_slice().into()]).encode(&mut frame, 17);
    let owned = FetchResponse::decode(&mut Reader::new(&frame.buf), 17)
        .expect("just encoded")
        .into_owned();
    let expected = owned.clone();
    drop(frame);
    assert_eq!(owned, expected);
    assert_eq!(
        owned.responses[0].partitions[1].records,
        Some(b"two".as_slice().into())
    );
}

#[test]
fn a_text_too_long_for_its_version_is_cut_at_a_letter() {
    let mut writer = Writer::new();
    writer.string(&"é".repeat(20_000), false);
    let text = Reader::new(&writer.buf)
        .string(false)
        .expect("valid")
        .into_owned();
    assert_eq!(text.len(), 32_766);
    assert!(text.chars().all(|letter| letter == 'é'));
}
