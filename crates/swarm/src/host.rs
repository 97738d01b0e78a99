//! STUB by lead so that the crate compiles; helper `pieces` replaces this file.
