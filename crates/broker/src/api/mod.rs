//! What all handlers are given: the request, who made it and what its maker may do.

pub mod access;
pub mod endpoints;
pub mod parts;
pub mod quota;
pub mod refused;
pub mod reply;
pub mod request;
pub mod served;
pub mod twins;
