//! From bytes to tokens.
//!
//! Each value is one token, where it starts; a list or dictionary is two, the second being the token that follows on the same
//! level, and is followed by its members and an end token. So nothing is kept that the bytes tell by themselves: a torrent of
//! a hundred thousand files has millions of tokens. Grammar is checked here, once, so that walking the tokens afterwards
//! needs no checks of it.

use crate::Value;
use std::ops::Range;

/// What may be read before giving up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Lists and dictionaries inside one another.
    pub depth: usize,
    /// Values, keys, and ends of lists and dictionaries, which count twice as they begin; each costs 4 bytes.
    pub tokens: usize,
}

impl Limits {
    /// For one message of a peer, a tracker or a DHT node. Chosen: none that is well-formed is nested deeper than 5; a
    /// thousand peers in the long form of a tracker's answer are 7,000 tokens.
    pub const MESSAGE: Limits = Limits { depth: 32, tokens: 100_000 };
    /// For a torrent file. Depth: a path of 100 folders (reliability.md A3) in a file tree, and the dictionaries around it.
    /// Tokens: chosen, 96 MiB; a file takes 10 to 40.
    pub const TORRENT: Limits = Limits { depth: 110, tokens: 24 << 20 };
}

/// Why bytes are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (byte {offset})")]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where, counted from the first byte given.
    pub offset: usize,
}

/// What is wrong with bytes that are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// They end inside a value: more bytes may complete it.
    #[error("the data ends inside a value")]
    Truncated,
    /// No value or end can begin so.
    #[error("byte {0:#04x} begins no value")]
    Byte(u8),
    /// A dictionary's key is no string.
    #[error("a dictionary key is no string")]
    Key,
    /// A dictionary ends after a key.
    #[error("a dictionary key has no value")]
    NoValue,
    /// Something between `i` and `e` is no number.
    #[error("this is no number")]
    Number,
    /// A string's length is no number, or has more than 20 digits.
    #[error("this is no length of a string")]
    Length,
    /// Deeper than [`Limits::depth`].
    #[error("lists and dictionaries are nested deeper than {0}")]
    Depth(usize),
    /// More than [`Limits::tokens`].
    #[error("there are more than {0} values")]
    Tokens(usize),
    /// More input than the offsets in tokens can point into (4 GiB).
    #[error("the data is longer than 4 GiB")]
    TooLong,
    /// Bytes follow the value.
    #[error("there is data after the end")]
    Trailing,
}

/// What a strict reader would have refused: the offset of the first of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A key that is smaller than the one before it.
    pub unsorted: Option<usize>,
    /// A key that its dictionary has already. [`Dict::get`](crate::Dict::get) finds the first.
    pub duplicate: Option<usize>,
    /// A number or a length with leading zeros, or `-0`.
    pub non_canonical: Option<usize>,
}

impl Faults {
    /// Whether there is none: then bytes and value determine each other.
    pub fn is_empty(&self) -> bool {
        *self == Faults::default()
    }
}

/// Digits in a string's length, at most, since they are read again at each access. Chosen: what 64 bits need.
const MAX_LENGTH_DIGITS: usize = 20;

/// Bytes that were read as one value.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    pub(crate) bytes: &'a [u8],
    tokens: Vec<u32>,
    end: usize,
    faults: Faults,
}

/// A list or dictionary that is open.
struct Open {
    token: u32,
    is_dict: bool,
    /// The last key, in dictionaries.
    key: Option<(usize, usize)>,
    /// Whether the last thing read was a key.
    wants_value: bool,
    unsorted: bool,
}

impl<'a> Document<'a> {
    /// Reads one value that is all of the bytes.
    pub fn parse(bytes: &'a [u8], limits: Limits) -> Result<Document<'a>, Error> {
        let document = Self::parse_prefix(bytes, limits)?;
        if document.end < bytes.len() {
            return Err(Error { kind: ErrorKind::Trailing, offset: document.end });
        }
        Ok(document)
    }

    /// Reads one value that the bytes begin with; [`end`](Self::end) tells where it ends.
    pub fn parse_prefix(bytes: &'a [u8], limits: Limits) -> Result<Document<'a>, Error> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(Error { kind: ErrorKind::TooLong, offset: u32::MAX as usize });
        }
        let mut reader =
            Reader { bytes, at: 0, tokens: Vec::new(), open: Vec::new(), faults: Faults::default(), limits };
        reader.read()?;
        Ok(Document { bytes, tokens: reader.tokens, end: reader.at, faults: reader.faults })
    }

    /// The value.
    pub fn root(&self) -> Value<'_, 'a> {
        Value::new(self, 0)
    }

    /// One past the value's last byte.
    pub fn end(&self) -> usize {
        self.end
    }

    /// What was forgiven.
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// Where a value, key or end starts. Its kind is the byte there.
    pub(crate) fn start(&self, token: u32) -> usize {
        self.tokens[token as usize] as usize
    }

    /// The token that follows on the same level: the next member, or the end.
    pub(crate) fn next(&self, token: u32) -> u32 {
        match self.bytes[self.start(token)] {
            b'l' | b'd' => self.tokens[token as usize + 1],
            _ => token + 1,
        }
    }

    /// Where the content of the string is that begins at an offset, which was read as one before.
    pub(crate) fn string_span(&self, start: usize) -> Range<usize> {
        let (length, colon) = decimal(self.bytes, start);
        colon + 1..colon + 1 + length
    }

    /// The content of that string.
    pub(crate) fn string_at(&self, start: usize) -> &'a [u8] {
        &self.bytes[self.string_span(start)]
    }
}

/// The digits at an offset as a number, and where they end. The number saturates: where it was read before, it fits.
fn decimal(bytes: &[u8], start: usize) -> (usize, usize) {
    let mut at = start;
    let mut value = 0_usize;
    while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
        at += 1;
    }
    (value, at)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<u32>,
    open: Vec<Open>,
    faults: Faults,
    limits: Limits,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), Error> {
        loop {
            let start = self.at;
            let byte = self.peek()?;
            let in_dict = self.open.last().is_some_and(|open| open.is_dict);
            let is_key = in_dict && self.open.last().is_some_and(|open| !open.wants_value);
            if is_key && !matches!(byte, b'0'..=b'9' | b'e') {
                return Err(self.error(ErrorKind::Key));
            }
            let token = self.push(self.at as u32)?;
            match byte {
                b'0'..=b'9' => {
                    let key = self.string()?;
                    if is_key {
                        self.key(start, key);
                        continue;
                    }
                }
                b'i' => self.integer()?,
                b'l' | b'd' => {
                    if self.open.len() >= self.limits.depth {
                        return Err(self.error(ErrorKind::Depth(self.limits.depth)));
                    }
                    // What follows it is known at its end.
                    self.push(0)?;
                    self.at += 1;
                    let is_dict = byte == b'd';
                    self.open.push(Open { token, is_dict, key: None, wants_value: false, unsorted: false });
                    continue;
                }
                b'e' => {
                    let Some(open) = self.open.pop() else { return Err(self.error(ErrorKind::Byte(b'e'))) };
                    if open.wants_value {
                        return Err(self.error(ErrorKind::NoValue));
                    }
                    self.at += 1;
                    self.tokens[open.token as usize + 1] = token + 1;
                    if open.unsorted && self.faults.duplicate.is_none() {
                        self.find_duplicate(open.token);
                    }
                }
                other => return Err(self.error(ErrorKind::Byte(other))),
            }
            // A value is complete.
            match self.open.last_mut() {
                Some(open) => open.wants_value = false,
                None => return Ok(()),
            }
        }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error { kind, offset: self.at }
    }

    fn peek(&self) -> Result<u8, Error> {
        self.bytes.get(self.at).copied().ok_or(Error { kind: ErrorKind::Truncated, offset: self.at })
    }

    fn push(&mut self, value: u32) -> Result<u32, Error> {
        let token = self.tokens.len();
        if token >= self.limits.tokens.min(u32::MAX as usize) {
            return Err(self.error(ErrorKind::Tokens(self.limits.tokens)));
        }
        self.tokens.push(value);
        Ok(token as u32)
    }

    /// Reads a string and gives its content's span.
    fn string(&mut self) -> Result<(usize, usize), Error> {
        let start = self.at;
        let (length, colon) = decimal(self.bytes, start);
        if colon - start > MAX_LENGTH_DIGITS || length == usize::MAX {
            return Err(self.error(ErrorKind::Length));
        }
        if self.bytes[start] == b'0' && colon - start > 1 {
            self.faults.non_canonical.get_or_insert(start);
        }
        self.at = colon;
        if self.peek()? != b':' {
            return Err(self.error(ErrorKind::Length));
        }
        let data = colon + 1;
        if length > self.bytes.len() - data {
            return Err(Error { kind: ErrorKind::Truncated, offset: self.bytes.len() });
        }
        self.at = data + length;
        Ok((data, self.at))
    }

    fn integer(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.at += 1;
        let negative = self.peek()? == b'-';
        let digits = self.at + usize::from(negative);
        let (value, end) = decimal(self.bytes, digits);
        self.at = end;
        if self.peek()? != b'e' || end == digits {
            return Err(self.error(ErrorKind::Number));
        }
        let leading_zero = self.bytes[digits] == b'0' && end - digits > 1;
        if leading_zero || negative && value == 0 {
            self.faults.non_canonical.get_or_insert(start);
        }
        self.at = end + 1;
        Ok(())
    }

    /// Notes a key and compares it with the one before it.
    fn key(&mut self, start: usize, key: (usize, usize)) {
        let open = self.open.last_mut().expect("a key is in a dictionary");
        open.wants_value = true;
        if let Some(before) = open.key.replace(key) {
            match self.bytes[before.0..before.1].cmp(&self.bytes[key.0..key.1]) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    self.faults.duplicate.get_or_insert(start);
                }
                std::cmp::Ordering::Greater => {
                    open.unsorted = true;
                    self.faults.unsorted.get_or_insert(start);
                }
            }
        }
    }

    /// Looks for equal keys in a dictionary whose keys are unsorted, so that equal ones need not stand side by side.
    fn find_duplicate(&mut self, dict: u32) {
        let document =
            Document { bytes: self.bytes, tokens: std::mem::take(&mut self.tokens), end: self.at, faults: self.faults };
        let mut keys = Vec::new();
        let mut token = dict + 2;
        while document.bytes[document.start(token)] != b'e' {
            let start = document.start(token);
            keys.push((document.string_at(start), start));
            token = document.next(token + 1);
        }
        keys.sort_unstable();
        let repeated = keys.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1);
        self.faults.duplicate = repeated.min();
        self.tokens = document.tokens;
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
