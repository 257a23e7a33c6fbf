//! The transaction machine from outside: requests in, answers and decisions out, on a clock and a journal the tests hold
//! in hand.

mod epochs;
mod fencing;
mod journal;
mod limits;
mod protocols;
mod time;
mod world;
