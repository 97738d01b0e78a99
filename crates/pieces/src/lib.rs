//! Which block next: bitfields, availability and the piece picker.
//!
//! [`Bitfield`] is a set of pieces as the wire has it. [`Availability`] counts who has what and keeps the pieces that could
//! be begun in the order of rarity, at one swap a `have`. [`PiecePicker`] knows how far each piece is and chooses the
//! blocks to ask of a peer: pieces that are open first, then random ones at the very beginning, then the rarest (or the
//! lowest, in sequential mode), and at the end what others were asked for already.
//!
//! Nothing here knows a peer beyond a number, a payload, or the time.

mod availability;
mod bitfield;
mod open;
mod picker;
mod share_out;
#[cfg(test)]
mod tests;

pub use availability::Availability;
pub use bitfield::{Bitfield, BitfieldError};
pub use picker::{PeerSlot, PickMode, PiecePicker, Received};
