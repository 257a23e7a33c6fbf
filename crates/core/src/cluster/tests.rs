//! The cluster from outside: commands in, records and changes out, on a journal that the tests hold in hand.

mod journal;
mod kafka;
mod topics;
mod world;
