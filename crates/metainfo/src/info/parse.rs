//! Reading an info dictionary.

use super::Info;
use crate::{MetainfoError, Warning};

pub(super) fn parse(bytes: &[u8]) -> Result<(Info, Vec<Warning>), MetainfoError> {
    Err(MetainfoError::TooLong { found: bytes.len(), limit: 0 })
}
