//! The bytes of a connection, whatever carries them.
//!
//! TCP now; an encrypted stream and uTP become variants beside it. Reading and writing take `&self`, so that a reader and a
//! writer share one stream without a lock. Closing makes both ends of our side return at once, and so is how one ends the
//! other.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use tokio::net::TcpStream;

/// A peer's transport.
#[derive(Debug)]
pub(crate) enum PeerStream {
    /// Plain TCP.
    Tcp(TcpStream),
}

impl PeerStream {
    /// Waits until there may be something to read. Cancel safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            PeerStream::Tcp(tcp) => tcp.readable().await,
        }
    }

    /// Reads what is there into one buffer after the other; `WouldBlock` if nothing is.
    pub(crate) fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            PeerStream::Tcp(tcp) => tcp.try_read_vectored(buffers),
        }
    }

    /// Waits until there may be room to write. Cancel safe.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            PeerStream::Tcp(tcp) => tcp.writable().await,
        }
    }

    /// Writes as much as there is room for; `WouldBlock` if there is none.
    pub(crate) fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            PeerStream::Tcp(tcp) => tcp.try_write_vectored(buffers),
        }
    }

    /// Says that nothing more is written; the other direction stays open.
    pub(crate) fn finish(&self) {
        match self {
            // An error means that it is closed already.
            PeerStream::Tcp(tcp) => drop(socket2::SockRef::from(tcp).shutdown(Shutdown::Write)),
        }
    }

    /// Closes both directions: whoever reads or writes returns.
    pub(crate) fn close(&self) {
        match self {
            PeerStream::Tcp(tcp) => drop(socket2::SockRef::from(tcp).shutdown(Shutdown::Both)),
        }
    }

    /// Writes all of it. Not cancel safe.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.writable().await?;
            match self.try_write_vectored(&[IoSlice::new(bytes)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
