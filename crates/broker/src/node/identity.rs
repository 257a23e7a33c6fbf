//! Who is at the far end of a connection, once that is known.

use crate::node::{Listener, Peer};
use std::sync::Arc;

/// Whoever has not logged in where nobody has to.
pub const ANONYMOUS: &str = "User:ANONYMOUS";

/// Who is at the far end of a connection. Only a listener without a login, or a login that succeeded, makes one, and
/// requests are made by nobody else.
pub struct Identity {
    /// The connection.
    pub peer: Arc<Peer>,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Such as `User:alice`.
    pub principal: Arc<str>,
    /// Whether it was a delegation token that said so.
    pub by_token: bool,
}

impl Identity {
    /// Somebody who has logged in.
    pub fn logged_in(
        peer: Arc<Peer>,
        listener: Arc<Listener>,
        principal: &str,
        by_token: bool,
    ) -> Identity {
        Identity {
            by_token,
            ..Identity::of(peer, listener, principal)
        }
    }

    /// Somebody who need not say who they are.
    pub fn anonymous(peer: Arc<Peer>, listener: Arc<Listener>) -> Identity {
        Identity::of(peer, listener, ANONYMOUS)
    }

    fn of(peer: Arc<Peer>, listener: Arc<Listener>, principal: &str) -> Identity {
        let principal = principal.into();
        peer.enters(&listener, &principal);
        Identity {
            peer,
            listener,
            principal,
            by_token: false,
        }
    }
}
