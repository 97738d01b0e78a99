//! What must hold of what a peer says, reports and counts (`reliability.md`, section 2).

use super::PeerSite;
use crate::swarm::content::Payload;
use crate::swarm::node_of;
use shoal_layout::PieceIndex;
use shoal_machine::Time;
use shoal_pieces::Bitfield;
use shoal_swarm::{Notice, Swarm};
use shoal_wire::Message;
use std::sync::atomic::Ordering;

impl PeerSite {
    /// What must hold of a message before it leaves.
    pub(super) fn check_message(&mut self, message: &Message) {
        let written = self.disk.written();
        let true_to_disk = match message {
            Message::Have(piece) => written.get(PieceIndex(*piece)),
            Message::HaveAll => written.is_full(),
            Message::Bitfield(bytes) => {
                Bitfield::from_bytes(written.len(), bytes).is_ok_and(|bits| bits.is_subset(written))
            }
            _ => true,
        };
        if !true_to_disk {
            self.violated(|| format!("says {message:?} and it is not on the disk (I1)"));
        }
    }

    pub(super) fn check_bytes(&self, machine: &Swarm<Payload>) -> Result<(), String> {
        let progress = machine.progress();
        let held = self.held_bytes.load(Ordering::Relaxed);
        if held > self.max_held_bytes {
            return Err(format!("{held} bytes of blocks are held (I5)"));
        }
        let received = self.received_bytes + self.unrequested_bytes;
        let used = self.verified_bytes + held + progress.wasted;
        if received != used {
            return Err(format!(
                "{received} bytes received; {} verified, {held} held and {} wasted are {used} (I7)",
                self.verified_bytes, progress.wasted
            ));
        }
        if progress.has_layout && progress.pieces_done != self.disk.written().count() {
            return Err(format!(
                "{} pieces counted, {} written (I1)",
                progress.pieces_done,
                self.disk.written().count()
            ));
        }
        Ok(())
    }

    /// Keeps what is reported to a user.
    pub(super) fn notice(&mut self, now: Time, notice: Notice) {
        match notice {
            Notice::Piece(piece) => {
                self.record.first_piece_at.get_or_insert(now);
                if !self.disk.has(piece) {
                    self.violated(|| format!("{piece:?} is reported and not on the disk (I1)"));
                }
            }
            Notice::Complete => {
                self.record.complete_at.get_or_insert(now);
                if !self.is_complete() {
                    self.violated(|| "reports that it is complete and is not (I1)".to_owned());
                }
            }
            Notice::Banned { addr, .. } => self.record.banned.extend(node_of(addr)),
            Notice::WebSeed { seed, outcome, error } => {
                self.record.web_seed_troubles.push((seed.0, outcome, error.text));
            }
            Notice::DiskTrouble { .. } => self.record.disk_troubles += 1,
            Notice::Stopped => self.record.stopped_at = Some(now),
            Notice::DiskRecovered => {}
        }
    }
}
