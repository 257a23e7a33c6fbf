//! The cluster from outside: commands in, records and changes out, on a journal that the tests hold in hand.

mod journal;
mod kafka;
mod security;
mod topics;
mod world;
