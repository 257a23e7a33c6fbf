//! What a consumer makes of the bytes of a fetch, where each record has a value of eight bytes.

use rustka_core::batch::{BatchHeader, Records, read_marker, record_bytes};
use rustka_history::history::Poll;
use rustka_wire::fetch_response::PartitionData;
use std::collections::BTreeSet;

/// One look at a partition: what it told a reader, which asked between these ticks and goes on at `next`.
pub fn poll(
    (began, ended): (u64, u64),
    place: u32,
    from: i64,
    committed: bool,
    told: &PartitionData<'_>,
) -> Poll {
    let records = told.records.as_ref();
    let bytes = records.map_or(&[][..], |records| records.as_bytes());
    let aborted = told.aborted_transactions.iter().flatten();
    let aborted = aborted.map(|it| (it.producer_id, it.first_offset));
    let (next, records) = read(bytes, from, committed, aborted.collect());
    let (stable, high) = (told.last_stable_offset, told.high_watermark);
    Poll {
        began,
        ended,
        place,
        committed,
        from,
        next,
        stable: if committed { stable } else { stable.min(high) },
        high,
        records,
    }
}

/// Where a reader goes on, and what it was told but for what was aborted, as clients leave it out.
fn read(
    mut bytes: &[u8],
    from: i64,
    committed: bool,
    mut aborted: Vec<(i64, i64)>,
) -> (i64, Vec<(i64, u64)>) {
    let (mut next, mut records) = (from, Vec::new());
    let mut within: BTreeSet<i64> = BTreeSet::new();
    while let Ok(header) = BatchHeader::parse(bytes) {
        let (batch, rest) = bytes.split_at(header.total_bytes());
        bytes = rest;
        next = header.last_offset().expect("an offset") + 1;
        let id = header.producer_id;
        aborted.retain(|(producer, first)| {
            let begins = *first < next;
            if begins {
                within.insert(*producer);
            }
            !begins
        });
        if let Some(marker) = read_marker(batch, &header).expect("a marker") {
            if !marker.commit {
                within.remove(&id);
            }
            continue;
        }
        if committed && header.is_transactional() && within.contains(&id) {
            continue;
        }
        let inside = record_bytes(batch, &header, 1 << 20).expect("records");
        for (n, record) in Records::new(&inside, header.record_count).enumerate() {
            let value = record.expect("a record").value.expect("a value");
            let value = u64::from_be_bytes(value.try_into().expect("eight bytes"));
            let offset = header.base_offset + n as i64;
            if offset >= from {
                records.push((offset, value));
            }
        }
    }
    (next, records)
}
