//! Claims about the picker.
