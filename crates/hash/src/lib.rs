//! SHA-1, SHA-256 and Merkle trees for torrents.
