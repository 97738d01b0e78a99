//! In which order data and journal reach the disk.
