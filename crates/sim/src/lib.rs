//! The deterministic driver: machines over virtual links in virtual time.
