//! A peer played by the test: it speaks the wire protocol (BEP 3) well enough to lie in it.
//!
//! Independent of the crates under test on purpose: a mistake in their codec must not cancel itself out here.

use super::PATIENCE;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Message numbers of BEP 3 and BEP 6.
pub(crate) const CHOKE: u8 = 0;
pub(crate) const UNCHOKE: u8 = 1;
pub(crate) const INTERESTED: u8 = 2;
pub(crate) const HAVE: u8 = 4;
pub(crate) const BITFIELD: u8 = 5;
pub(crate) const REQUEST: u8 = 6;
pub(crate) const PIECE: u8 = 7;
pub(crate) const CANCEL: u8 = 8;

/// A connection after both handshakes.
pub(crate) struct Wire {
    stream: TcpStream,
}

/// The 20 bytes of a hash in hex.
pub(crate) fn hash(hex: &str) -> [u8; 20] {
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex");
    std::array::from_fn(byte)
}

/// A request's, cancel's or block header's numbers.
pub(crate) fn numbers(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

impl Wire {
    fn handshake(mut stream: TcpStream, info_hash: [u8; 20], id: &[u8; 20]) -> io::Result<Wire> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut ours = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
        ours.extend_from_slice(&info_hash);
        ours.extend_from_slice(id);
        stream.write_all(&ours)?;
        let mut theirs = [0; 68];
        stream.read_exact(&mut theirs)?;
        if theirs[..20] != ours[..20] {
            return Err(io::Error::other("not a BitTorrent handshake"));
        }
        Ok(Wire { stream })
    }

    /// Dials a peer.
    pub(crate) fn dial(addr: SocketAddr, info_hash: [u8; 20], id: &[u8; 20]) -> io::Result<Wire> {
        Self::handshake(TcpStream::connect(addr)?, info_hash, id)
    }

    /// Takes the next connection.
    pub(crate) fn accept(listener: &TcpListener, info_hash: [u8; 20], id: &[u8; 20]) -> io::Result<Wire> {
        Self::handshake(listener.accept()?.0, info_hash, id)
    }

    /// Sends one message.
    pub(crate) fn send(&mut self, number: u8, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 1).expect("small");
        let mut frame = length.to_be_bytes().to_vec();
        frame.push(number);
        frame.extend_from_slice(body);
        self.stream.write_all(&frame)
    }

    /// Sends bytes that need not be messages.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next message that is not a keep-alive: its number and its body.
    pub(crate) fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            if length == 0 {
                continue;
            }
            if length > 1 << 21 {
                return Err(io::Error::other(format!("a message of {length} bytes")));
            }
            let mut message = vec![0; length];
            self.stream.read_exact(&mut message)?;
            let body = message.split_off(1);
            return Ok((message[0], body));
        }
    }

    /// Reads until a message of this number, or until the other side closes.
    pub(crate) fn wait_for(&mut self, number: u8) -> io::Result<Vec<u8>> {
        loop {
            let (found, body) = self.receive()?;
            if found == number {
                return Ok(body);
            }
        }
    }

    /// Reads until the other side closes; an error when it does not within the patience of the tests.
    pub(crate) fn wait_closed(&mut self) -> io::Result<()> {
        let mut rest = [0; 4096];
        loop {
            match self.stream.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    /// A second handle of the same connection, to read and write at once.
    pub(crate) fn split(&self) -> io::Result<Wire> {
        Ok(Wire { stream: self.stream.try_clone()? })
    }
}

/// The number of each field of a request's or cancel's body.
pub(crate) fn request(body: &[u8]) -> (u32, u32, u32) {
    let field = |i: usize| u32::from_be_bytes(body[4 * i..4 * i + 4].try_into().expect("four bytes"));
    (field(0), field(1), field(2))
}
