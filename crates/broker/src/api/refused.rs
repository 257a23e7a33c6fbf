//! "Answer every field of this request with this code": for each API that is served the answer to a request in which
//! every element has one error. Where an element of the request has a code of its own in the answer, such as a
//! partition, the code stands there; at the top where the answer has no other, or the request names nothing.

/// The rows of some requests, each with its answer and what it names.
macro_rules! refusals {
    ($($request:ty, |$asked:ident, $code:ident, $version:ident| $answer:expr, |$names:ident| $naming:expr;)*) => {
        pub(super) static ROWS: &[Row] = &[$(Row {
            key: <$request>::KEY,
            read: |body, version| {
                let mut reader = Reader::new(body);
                Ok(Box::new(<$request>::decode(&mut reader, version)?))
            },
        },)*];
        $(
            #[allow(
                unused_variables,
                clippy::no_effect,
                reason = "not every row looks at all that it is given"
            )]
            impl Refusable for $request {
                fn refuse(&self, $code: i16, $version: i16, w: &mut Writer) {
                    let $asked = self;
                    let answer = $answer;
                    answer.encode(w, $version);
                }

                fn name(&self, $names: &mut Names) {
                    let $asked = self;
                    $naming;
                }
            }
        )*
    };
}

mod cluster;
mod groups;
mod topics;
mod transactions;

use crate::api::reply::Reply;
use crate::api::request::Respond;
use rustka_core::cluster::resource::ResourceKind;
use rustka_core::error::ErrorCode;
use rustka_wire::codec::{DecodeError, Reader, Uuid, Writer};
use rustka_wire::produce_request::ProduceRequest;

/// What a request names, for those who look for a topic or a group.
#[derive(Default)]
pub struct Names {
    /// By name.
    pub topics: Vec<String>,
    /// Topics by id.
    pub ids: Vec<Uuid>,
    /// Group ids.
    pub groups: Vec<String>,
}

impl Names {
    fn topic(&mut self, name: &str) {
        self.topics.push(name.to_owned());
    }

    /// By whichever of both a request's version has.
    fn topic_or_id(&mut self, name: &str, id: Uuid) {
        match id == Uuid::ZERO {
            true => self.topic(name),
            false => self.ids.push(id),
        }
    }

    /// A resource of configs.
    fn resource(&mut self, kind: i8, name: &str) {
        match ResourceKind::from_code(kind) {
            Some(ResourceKind::Topic) => self.topic(name),
            Some(ResourceKind::Group) => self.group(name),
            _ => {}
        }
    }

    fn group(&mut self, id: &str) {
        self.groups.push(id.to_owned());
    }
}

/// A request that was read.
trait Refusable {
    /// Writes the answer.
    fn refuse(&self, code: i16, version: i16, w: &mut Writer);
    /// Tells what it names.
    fn name(&self, names: &mut Names);
}

type Asked<'a> = Box<dyn Refusable + 'a>;

struct Row {
    key: i16,
    read: for<'a> fn(&'a [u8], i16) -> Result<Asked<'a>, DecodeError>,
}

/// One answer for each element of a request.
fn each<T, U>(elements: &[T], answer: impl FnMut(&T) -> U) -> Vec<U> {
    elements.iter().map(answer).collect()
}

/// The code, where nothing below it has room for one.
fn alone(code: i16, is_alone: bool) -> i16 {
    if is_alone { code } else { 0 }
}

fn find(key: i16) -> Option<&'static Row> {
    let rows = [
        topics::ROWS,
        groups::ROWS,
        transactions::ROWS,
        cluster::ROWS,
    ];
    rows.into_iter().flatten().find(|row| row.key == key)
}

/// Whether there is such an answer to these requests.
pub fn is_known(key: i16) -> bool {
    find(key).is_some()
}

/// What a request names; nothing when it cannot be read.
pub fn names(key: i16, version: i16, body: &[u8]) -> Option<Names> {
    let asked = (find(key)?.read)(body, version).ok()?;
    let mut names = Names::default();
    asked.name(&mut names);
    Some(names)
}

/// The answer that says `code` everywhere; nothing when the request cannot be read, or its client waits for no answer.
pub fn answer(
    key: i16,
    version: i16,
    body: &[u8],
    code: ErrorCode,
    respond: &Respond,
) -> Option<Reply> {
    if key == ProduceRequest::KEY {
        let produce = ProduceRequest::decode(&mut Reader::new(body), version).ok()?;
        if produce.acks == 0 {
            return None;
        }
    }
    let asked = (find(key)?.read)(body, version).ok()?;
    Some(respond.encode(&[], |w| asked.refuse(code.code(), version, w)))
}
