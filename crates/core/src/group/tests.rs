//! The group machine from outside: requests in, answers out, on a clock and a journal the tests hold in hand.

mod consumer;
mod consumer_limits;
mod consumer_simulation;
mod join;
mod journal;
mod limits;
mod offsets;
mod patience;
mod rebalance;
mod simulation;
mod static_members;
mod transcripts;
mod world;
