//! A walk over the records of a batch: borrows, allocates nothing and believes no length.

use std::ops::Range;

use super::{BatchError, BatchHeader, varint};
use crate::compression::InflateLimits;

/// One record of a batch, as it lies in the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by Kafka so far.
    pub attributes: i8,
    /// Added to the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Added to the batch's base offset.
    pub offset_delta: i32,
    /// The key, which may be absent.
    pub key: Option<&'a [u8]>,
    /// The value; absent on a compacted topic it is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order, with repeated keys kept.
    pub headers: Headers<'a>,
    /// Key, value and headers as encoded: what stays the same when the record moves to another batch.
    pub content: &'a [u8],
    /// Where the record lies among the record bytes, its length prefix included.
    pub range: Range<usize>,
}

/// A record's headers, checked when the record was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers as encoded, without their count.
    pub fn raw(&self) -> &'a [u8] {
        self.bytes
    }

    fn take(bytes: &mut &'a [u8], count: usize) -> Result<Headers<'a>, BatchError> {
        // A header is at least two bytes, so the count cannot make us loop for longer than there are bytes.
        if count > bytes.len() / 2 {
            return Err(BatchError::HeaderCount);
        }
        let all = *bytes;
        for _ in 0..count {
            take_header(bytes)?;
        }
        Ok(Headers {
            count,
            bytes: all.get(..all.len() - bytes.len()).unwrap_or_default(),
        })
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        HeaderIter { bytes: self.bytes }
    }
}

/// Yields the key and value of each header.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        take_header(&mut self.bytes).ok()
    }
}

/// Yields each record of `bytes`, then an error if the batch said otherwise; nothing follows an error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
    left: u32,
    ended: bool,
    record_bytes_max: usize,
}

impl<'a> Records<'a> {
    /// Walks uncompressed record bytes that are said to hold `count` records.
    pub fn new(bytes: &'a [u8], count: i32) -> Records<'a> {
        Records {
            bytes,
            rest: bytes,
            left: u32::try_from(count).unwrap_or(0),
            ended: false,
            record_bytes_max: usize::MAX,
        }
    }

    /// Walks the record bytes of a batch. As in Kafka, records are bounded only where they had to be inflated.
    pub fn of(header: &BatchHeader, bytes: &'a [u8], limits: InflateLimits) -> Records<'a> {
        let mut records = Records::new(bytes, header.record_count);
        if header.is_compressed() {
            records.record_bytes_max = limits.record_bytes_max;
        }
        records
    }

    #[inline]
    fn take(&mut self) -> Result<Record<'a>, BatchError> {
        let start = self.bytes.len() - self.rest.len();
        let length = length(varint::take_i32(&mut self.rest)?)?;
        if length > self.record_bytes_max {
            return Err(BatchError::RecordTooLarge {
                bytes: length,
                max_bytes: self.record_bytes_max,
            });
        }
        let (mut body, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(BatchError::Truncated)?;
        self.rest = rest;
        let (&attributes, after) = body.split_first().ok_or(BatchError::Truncated)?;
        body = after;
        let timestamp_delta = varint::take_i64(&mut body)?;
        let offset_delta = varint::take_i32(&mut body)?;
        let content = body;
        let key = take_nullable(&mut body)?;
        let value = take_nullable(&mut body)?;
        let headers = self::length(varint::take_i32(&mut body)?)?;
        let headers = Headers::take(&mut body, headers)?;
        if !body.is_empty() {
            return Err(BatchError::TrailingBytes);
        }
        Ok(Record {
            attributes: attributes.cast_signed(),
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
            content,
            range: start..self.bytes.len() - rest.len(),
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.left == 0 {
            self.ended = true;
            return (!self.rest.is_empty()).then_some(Err(BatchError::TrailingBytes));
        }
        self.left -= 1;
        let record = self.take();
        self.ended = record.is_err();
        Some(record)
    }
}

fn length(declared: i32) -> Result<usize, BatchError> {
    usize::try_from(declared).map_err(|_| BatchError::NegativeLength)
}

#[inline]
fn take_bytes<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], BatchError> {
    let (taken, rest) = bytes
        .split_at_checked(length)
        .ok_or(BatchError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

#[inline]
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BatchError> {
    // Any negative length is null to Kafka's own reader.
    match usize::try_from(varint::take_i32(bytes)?) {
        Ok(length) => take_bytes(bytes, length).map(Some),
        Err(_) => Ok(None),
    }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), BatchError> {
    let key_bytes = length(varint::take_i32(bytes)?)?;
    let key = take_bytes(bytes, key_bytes)?;
    Ok((key, take_nullable(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, NewRecord};

    fn one(body: &[u8]) -> Result<usize, BatchError> {
        let mut bytes = Vec::new();
        varint::put(&mut bytes, i64::try_from(body.len()).unwrap());
        bytes.extend_from_slice(body);
        let mut count = 0;
        for record in Records::new(&bytes, 1) {
            record?;
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_record_is_read_and_repeated_header_keys_are_kept() {
        // attributes 0, deltas 0, key "k", value null, headers k=1 and k=2.
        let body = [0, 0, 0, 2, b'k', 1, 4, 2, b'k', 2, b'1', 2, b'k', 2, b'2'];
        let mut bytes = vec![30];
        bytes.extend_from_slice(&body);
        let record = Records::new(&bytes, 1).next().unwrap().unwrap();
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), None));
        assert_eq!(record.range, 0..16);
        assert_eq!(record.headers.len(), 2);
        let headers: Vec<_> = record.headers.into_iter().collect();
        assert_eq!(
            headers,
            [(&b"k"[..], Some(&b"1"[..])), (&b"k"[..], Some(&b"2"[..]))]
        );
    }

    /// Attacks, row 16: a header takes two bytes or more.
    #[test]
    fn more_headers_than_there_are_bytes_for_are_refused_at_once() {
        assert_eq!(one(&[0, 0, 0, 1, 1, 2, 0, 1]), Ok(1));
        assert_eq!(one(&[0, 0, 0, 1, 1, 2]), Err(BatchError::HeaderCount));
        assert_eq!(one(&[0, 0, 0, 1, 1, 4, 0, 1]), Err(BatchError::HeaderCount));
    }

    #[test]
    fn an_inflated_record_is_bounded_and_one_that_was_sent_whole_is_not() {
        let record = [12, 0, 0, 0, 1, 1, 0];
        let walk = |attributes, record_bytes_max| {
            let any = BatchBuilder::new().record(&NewRecord::default()).build();
            let mut header = BatchHeader::parse(&any.unwrap()).unwrap();
            header.attributes = attributes;
            let limits = InflateLimits {
                record_bytes_max,
                ..InflateLimits::default()
            };
            Records::of(&header, &record, limits)
                .next()
                .unwrap()
                .map(|_| ())
        };
        assert_eq!(walk(1, 6), Ok(()));
        let refused = BatchError::RecordTooLarge {
            bytes: 6,
            max_bytes: 5,
        };
        assert_eq!(walk(1, 5), Err(refused));
        assert_eq!(walk(0, 5), Ok(()));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        assert_eq!(one(&[0, 0, 0, 1, 1, 0]), Ok(1));
        assert_eq!(one(&[0, 0, 0, 1, 1, 0, 9]), Err(BatchError::TrailingBytes));
        assert_eq!(one(&[0, 0, 0, 20, 1, 0]), Err(BatchError::Truncated));
        assert_eq!(one(&[0, 0, 0, 1, 20, 0]), Err(BatchError::Truncated));
        assert_eq!(one(&[0, 0, 0, 1, 1, 1]), Err(BatchError::NegativeLength));
        assert_eq!(one(&[0, 0, 0, 1, 1]), Err(BatchError::Truncated));
        assert_eq!(one(&[]), Err(BatchError::Truncated));
    }

    #[test]
    fn more_or_fewer_records_than_said_are_an_error() {
        let record = [12, 0, 0, 0, 1, 1, 0];
        let two = [record, record].concat();
        let outcome = |count| Records::new(&two, count).collect::<Result<Vec<_>, _>>();
        assert_eq!(outcome(2).map(|all| all.len()), Ok(2));
        assert_eq!(outcome(1), Err(BatchError::TrailingBytes));
        assert_eq!(outcome(3), Err(BatchError::Truncated));
        assert_eq!(outcome(-1), Err(BatchError::TrailingBytes));
    }
}
