//! The tokio driver: sockets, timers and disk threads around the machines.
