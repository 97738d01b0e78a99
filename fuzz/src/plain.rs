//! A second reader of bencode, to judge the first by: recursive, copying, as plain as BEP 3 reads. It shares no code with
//! `shoal-bencode`, and forgives what that forgives.

/// One value and the bytes it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'a> {
    /// Its exact bytes.
    pub raw: &'a [u8],
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<'a> {
    /// The digits, with a sign if there is one.
    Int(&'a [u8]),
    /// The content.
    Text(&'a [u8]),
    /// The members.
    List(Vec<Node<'a>>),
    /// Keys and values as they came.
    Dict(Vec<(&'a [u8], Node<'a>)>),
}

/// Reads the value at the front, and what follows it. `depth` is how many lists and dictionaries may still be opened.
pub fn read(bytes: &[u8], depth: usize) -> Option<(Node<'_>, &[u8])> {
    let (kind, rest) = match *bytes.first()? {
        b'i' => {
            let end = bytes.iter().position(|&byte| byte == b'e')?;
            let number = &bytes[1..end];
            let digits = number.strip_prefix(b"-").unwrap_or(number);
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            (Kind::Int(number), &bytes[end + 1..])
        }
        b'l' => {
            let (mut members, mut rest) = (Vec::new(), &bytes[1..]);
            let depth = depth.checked_sub(1)?;
            while *rest.first()? != b'e' {
                let (member, after) = read(rest, depth)?;
                members.push(member);
                rest = after;
            }
            (Kind::List(members), &rest[1..])
        }
        b'd' => {
            let (mut entries, mut rest) = (Vec::new(), &bytes[1..]);
            let depth = depth.checked_sub(1)?;
            while *rest.first()? != b'e' {
                let (key, after) = text(rest)?;
                let (value, after) = read(after, depth)?;
                entries.push((key, value));
                rest = after;
            }
            (Kind::Dict(entries), &rest[1..])
        }
        _ => {
            let (content, rest) = text(bytes)?;
            (Kind::Text(content), rest)
        }
    };
    Some((Node { raw: &bytes[..bytes.len() - rest.len()], kind }, rest))
}

fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().take(21).position(|&byte| byte == b':')?;
    let digits = &bytes[..colon];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    bytes[colon + 1..].split_at_checked(length)
}

/// Writes a value anew: for canonical bytes, the same bytes.
pub fn write(node: &Node<'_>, out: &mut Vec<u8>) {
    let string = |text: &[u8], out: &mut Vec<u8>| {
        out.extend(text.len().to_string().bytes());
        out.push(b':');
        out.extend(text);
    };
    match &node.kind {
        Kind::Int(number) => {
            out.push(b'i');
            let (sign, digits) = match number.strip_prefix(b"-") {
                Some(digits) => (&b"-"[..], digits),
                None => (&b""[..], *number),
            };
            let zeros = digits.iter().take(digits.len() - 1).take_while(|&&digit| digit == b'0').count();
            if &digits[zeros..] != b"0" {
                out.extend(sign);
            }
            out.extend(&digits[zeros..]);
            out.push(b'e');
        }
        Kind::Text(content) => string(content, out),
        Kind::List(members) => {
            out.push(b'l');
            members.iter().for_each(|member| write(member, out));
            out.push(b'e');
        }
        Kind::Dict(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            sorted.dedup_by_key(|(key, _)| *key);
            out.push(b'd');
            for (key, value) in sorted {
                string(key, out);
                write(value, out);
            }
            out.push(b'e');
        }
    }
}

impl<'a> Node<'a> {
    /// The first value of a key, in a dictionary.
    pub fn get(&self, key: &[u8]) -> Option<&Node<'a>> {
        match &self.kind {
            Kind::Dict(entries) => entries.iter().find(|(found, _)| *found == key).map(|(_, value)| value),
            _ => None,
        }
    }
}
