//! What all handlers are given: the request, who made it and what its maker may do.

pub mod authorize;
pub mod endpoints;
pub mod parts;
pub mod reply;
pub mod request;
pub mod served;
