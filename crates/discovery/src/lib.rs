//! Where peers come from: trackers and other sources, as drivers.
