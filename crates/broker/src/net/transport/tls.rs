//! TLS around another byte stream.

use super::Transport;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio_rustls::server::TlsStream;

impl<T: Transport> Transport for TlsStream<T> {
    fn poll_hangup(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.poll_hangup(cx)
    }

    /// Without it a client cannot tell our end from an attack that cuts what we say.
    fn part(&mut self, cx: &mut Context<'_>) {
        // A socket that is full stays so: nobody waits for a word of leave.
        let _told = Pin::new(self).poll_shutdown(cx);
    }
}
