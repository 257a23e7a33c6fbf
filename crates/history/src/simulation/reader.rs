//! Readers: from the beginning, on, and from somewhere again.

use super::client::{Context, Next};
use super::request::{IN, OUT, Request, Response};
use crate::history::{Place, Poll};

const PAUSE_MS: u64 = 15;

pub(super) struct Reader {
    committed: bool,
    place: Place,
    from: i64,
    asked: Option<u64>,
}

impl Reader {
    pub(super) fn new(committed: bool) -> Reader {
        Reader {
            committed,
            place: 0,
            from: 0,
            asked: None,
        }
    }

    pub(super) fn wake(&mut self, cx: &mut Context<'_>) -> Next {
        if cx.chance.one_in(8) {
            let places = [IN, OUT].concat();
            self.place = places[cx.chance.below(4) as usize];
            self.from = 0;
        }
        self.asked = Some(cx.tick);
        let (place, from, committed) = (self.place, self.from, self.committed);
        Next::Send(Request::Fetch {
            place,
            from,
            committed,
        })
    }

    pub(super) fn hear(&mut self, response: Option<Response>, cx: &mut Context<'_>) -> Next {
        if let (Some(began), Some(Response::Fetched(fetched))) = (self.asked.take(), response) {
            cx.history.polls.push(Poll {
                began,
                ended: cx.tick,
                place: self.place,
                committed: self.committed,
                from: self.from,
                next: fetched.next,
                stable: fetched.stable,
                high: fetched.high,
                records: fetched.records,
            });
            self.from = fetched.next;
        }
        Next::Wake(PAUSE_MS)
    }
}
