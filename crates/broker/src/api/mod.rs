//! What all handlers are given: the request, who made it and what its maker may do.

pub mod authorize;
pub mod endpoints;
pub mod request;
