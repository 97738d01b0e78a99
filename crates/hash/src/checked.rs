//! SHA-1 that notices when a message was made to collide.
//!
//! Two files of one SHA-1 can be made (SHAttered, 2017; a chosen prefix since 2020), and so a v1 torrent whose data is
//! right by every hash and still not what its maker showed to others. Such messages have traces in the states between
//! their blocks, which `sha1-checked` looks for (Stevens, "Counter-cryptanalysis", 2013). It costs several times the plain
//! hash, one message at a time, so it is for who asks (`verify --paranoid`).

use sha1_checked::{CollisionResult, Digest, Sha1};

/// A SHA-1 that can be fed in parts and tells at its end whether the message is an attack.
#[derive(Clone)]
pub struct CheckedSha1(Sha1);

impl Default for CheckedSha1 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for CheckedSha1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CheckedSha1")
    }
}

impl CheckedSha1 {
    /// Nothing fed yet.
    pub fn new() -> CheckedSha1 {
        // The hash stays SHA-1's own: what collides is told, and not given another hash.
        CheckedSha1(Sha1::builder().safe_hash(false).build())
    }

    /// Feeds the next bytes of the message.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The SHA-1 of all that was fed, and whether it was made to collide with another message.
    pub fn finish(self) -> ([u8; 20], bool) {
        match self.0.try_finalize() {
            CollisionResult::Ok(hash) => (hash.into(), false),
            CollisionResult::Mitigated(hash) | CollisionResult::Collision(hash) => (hash.into(), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two messages of one SHA-1.
    fn shattered() -> [Vec<u8>; 2] {
        let text = include_str!("../../../tests/collision/shattered.hex");
        let parts: Vec<Vec<u8>> = text
            .split("\n\n")
            .skip(1)
            .map(|part| {
                let digits: Vec<u32> = part.chars().filter_map(|c| c.to_digit(16)).collect();
                digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
            })
            .collect();
        parts.try_into().expect("two messages")
    }

    fn finish(message: &[u8], step: usize) -> ([u8; 20], bool) {
        let mut state = CheckedSha1::new();
        message.chunks(step).for_each(|part| state.update(part));
        state.finish()
    }

    #[test]
    fn two_messages_of_one_hash_are_both_told() {
        let [one, other] = shattered();
        assert!(one != other && one.len() == 320 && other.len() == 320);
        assert_eq!(crate::sha1(&one), crate::sha1(&other));
        for message in [one, other] {
            for step in [1, 63, 64, 320] {
                assert_eq!(finish(&message, step), (crate::sha1(&message), true));
            }
            // In the middle of a piece too.
            let piece = [&message[..], &[7; 1000]].concat();
            assert_eq!(finish(&piece, 100), (crate::sha1(&piece), true));
        }
    }

    #[test]
    fn other_messages_hash_as_ever_and_are_not_accused() {
        for length in (0..700).chain([16_384, 100_001]) {
            let message: Vec<u8> = (0..length).map(|at| (at * 31 + at / 7) as u8).collect();
            assert_eq!(finish(&message, 97), (crate::sha1(&message), false), "{length}");
        }
    }
}
