//! Walking what was read: values, lists and dictionaries as views into the bytes.

use crate::Document;
use std::ops::Range;

/// A value of a [`Document`]. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Value<'d, 'a> {
    document: &'d Document<'a>,
    token: u32,
}

/// A list. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct List<'d, 'a> {
    document: &'d Document<'a>,
    token: u32,
}

/// A dictionary. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Dict<'d, 'a> {
    document: &'d Document<'a>,
    token: u32,
}

impl<'d, 'a> Value<'d, 'a> {
    pub(crate) fn new(document: &'d Document<'a>, token: u32) -> Self {
        Value { document, token }
    }

    /// Where the value stands in the bytes.
    pub fn span(&self) -> Range<usize> {
        let bytes = self.document.bytes;
        let start = self.start();
        let end = match bytes[start] {
            b'l' | b'd' => {
                let end_token = self.document.next(self.token) - 1;
                self.document.start(end_token) + 1
            }
            b'i' => start + integer_length(&bytes[start..]),
            _ => self.document.string_span(start).end,
        };
        start..end
    }

    /// The value's exact bytes.
    pub fn raw(&self) -> &'a [u8] {
        &self.document.bytes[self.span()]
    }

    /// The value's first byte, for errors.
    pub fn offset(&self) -> usize {
        self.start()
    }

    /// The content, if it is a string.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        self.kind().is_ascii_digit().then(|| self.document.string_at(self.start()))
    }

    /// The content, if it is a string of UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The number, if it is one that fits.
    pub fn as_int(&self) -> Option<i64> {
        if self.kind() != b'i' {
            return None;
        }
        let raw = &self.document.bytes[self.start()..];
        std::str::from_utf8(&raw[1..integer_length(raw) - 1]).ok()?.parse().ok()
    }

    /// The members, if it is a list.
    pub fn as_list(&self) -> Option<List<'d, 'a>> {
        (self.kind() == b'l').then_some(List { document: self.document, token: self.token })
    }

    /// The entries, if it is a dictionary.
    pub fn as_dict(&self) -> Option<Dict<'d, 'a>> {
        (self.kind() == b'd').then_some(Dict { document: self.document, token: self.token })
    }

    fn start(&self) -> usize {
        self.document.start(self.token)
    }

    fn kind(&self) -> u8 {
        self.document.bytes[self.start()]
    }
}

/// Bytes of an integer that was read before, with its `i` and `e`.
fn integer_length(raw: &[u8]) -> usize {
    raw.iter().position(|&byte| byte == b'e').map_or(raw.len(), |end| end + 1)
}

impl<'d, 'a> List<'d, 'a> {
    /// The members in order.
    pub fn iter(&self) -> ListIter<'d, 'a> {
        ListIter { document: self.document, token: self.token + 2 }
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'d, 'a> Dict<'d, 'a> {
    /// The entries in the order of the bytes.
    pub fn iter(&self) -> DictIter<'d, 'a> {
        DictIter { document: self.document, token: self.token + 2 }
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The first value of this key. Cost: a step an entry before it.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value<'d, 'a>> {
        self.iter().find(|(found, _)| *found == key.as_ref()).map(|(_, value)| value)
    }

    /// The dictionary as a value, for its span.
    pub fn value(&self) -> Value<'d, 'a> {
        Value { document: self.document, token: self.token }
    }
}

impl<'d, 'a> IntoIterator for List<'d, 'a> {
    type Item = Value<'d, 'a>;
    type IntoIter = ListIter<'d, 'a>;

    fn into_iter(self) -> ListIter<'d, 'a> {
        self.iter()
    }
}

impl<'d, 'a> IntoIterator for Dict<'d, 'a> {
    type Item = (&'a [u8], Value<'d, 'a>);
    type IntoIter = DictIter<'d, 'a>;

    fn into_iter(self) -> DictIter<'d, 'a> {
        self.iter()
    }
}

/// The members of a [`List`].
#[derive(Debug, Clone)]
pub struct ListIter<'d, 'a> {
    document: &'d Document<'a>,
    token: u32,
}

impl<'d, 'a> Iterator for ListIter<'d, 'a> {
    type Item = Value<'d, 'a>;

    fn next(&mut self) -> Option<Value<'d, 'a>> {
        let value = Value { document: self.document, token: self.token };
        if value.kind() == b'e' {
            return None;
        }
        self.token = self.document.next(self.token);
        Some(value)
    }
}

/// The entries of a [`Dict`]: key and value.
#[derive(Debug, Clone)]
pub struct DictIter<'d, 'a> {
    document: &'d Document<'a>,
    token: u32,
}

impl<'d, 'a> Iterator for DictIter<'d, 'a> {
    type Item = (&'a [u8], Value<'d, 'a>);

    fn next(&mut self) -> Option<(&'a [u8], Value<'d, 'a>)> {
        let key = Value { document: self.document, token: self.token }.as_bytes()?;
        let value = Value { document: self.document, token: self.token + 1 };
        self.token = self.document.next(self.token + 1);
        Some((key, value))
    }
}
