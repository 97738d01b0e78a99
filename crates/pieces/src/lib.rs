//! Which block next: bitfields, availability and the piece picker.
