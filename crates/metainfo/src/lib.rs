//! Torrent files and magnet links: reading, checking, writing, creating.
