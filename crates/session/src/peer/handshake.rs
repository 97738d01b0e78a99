//! The first 68 bytes of both sides (BEP 3); the callers limit the time.
//!
//! Who dials speaks first. Who is dialed reads first, looks up the info hash, and answers with the same hash: a hybrid
//! torrent is listed under both of its own. Who dialed a hybrid by its v1 hash may be answered with the v2 hash (BEP 52,
//! "upgrade path"), so any hash of the torrent is right.

use super::stream::PeerStream;
use shoal_wire::Handshake;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

/// Bytes read at once: a handshake and the small messages that often follow in the same packet.
const READ_BYTES: usize = 1024;

/// A connection after both handshakes.
pub(crate) struct Opened {
    pub(crate) stream: PeerStream,
    pub(crate) addr: SocketAddr,
    /// The other side's.
    pub(crate) handshake: Handshake,
    /// What was read behind it.
    pub(crate) leftover: Vec<u8>,
}

/// Our side of a connection that we dialed. `ours` are the hashes by which the other side may answer.
pub(crate) async fn open(
    stream: PeerStream,
    addr: SocketAddr,
    mine: Handshake,
    ours: &[[u8; 20]],
) -> io::Result<Opened> {
    stream.write_all(&mine.encode()).await?;
    let (handshake, leftover) = read(&stream).await?;
    if !ours.contains(&handshake.info_hash) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer answered for another torrent"));
    }
    Ok(Opened { stream, addr, handshake, leftover })
}

/// The other side's handshake of a connection that it dialed; ours is sent by the torrent that it names.
pub(crate) async fn accept(stream: PeerStream, addr: SocketAddr) -> io::Result<Opened> {
    let (handshake, leftover) = read(&stream).await?;
    Ok(Opened { stream, addr, handshake, leftover })
}

async fn read(stream: &PeerStream) -> io::Result<(Handshake, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    let mut buffer = [0; READ_BYTES];
    loop {
        stream.readable().await?;
        match stream.try_read_vectored(&mut [IoSliceMut::new(&mut buffer[bytes.len()..])]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes.extend_from_slice(&buffer[bytes.len()..][..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let decoded = Handshake::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(handshake) = decoded {
            bytes.drain(..Handshake::LENGTH);
            return Ok((handshake, bytes));
        }
    }
}
