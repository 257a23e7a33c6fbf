//! The transaction machine from outside: requests in, answers and decisions out, on a clock and a journal the tests hold
//! in hand.

mod epochs;
mod fencing;
mod journal;
mod limits;
mod places;
mod protocols;
mod time;
mod world;
