//! Reading a trace: hostile until checked, and used as far as it goes.

use crate::TraceError;
use crate::event;
use crate::field::{Field, take_bytes};
use crate::head::Head;
use crate::record::{self, Found, MAGIC, kind};
use crate::recorder::End;
use shoal_machine::Time;
use shoal_swarm::Event;
use std::io::Read;
use std::time::Duration;

/// Effects of one event, at most. Chosen: a machine with 10,000 peers tells each of them a few things at a time.
const MAX_EFFECTS: usize = 1 << 20;

/// One event and what the machine that was recorded made of it.
#[derive(Debug)]
pub struct Entry {
    /// When it was fed.
    pub at: Time,
    /// What happened.
    pub event: Event<()>,
    /// `None`: the program ended in this event.
    pub answer: Option<Answer>,
}

/// What the machine ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The kinds of the effects, in order.
    pub(crate) kinds: Vec<u8>,
    /// Of the digest over all effects until here.
    pub(crate) digest: [u8; 4],
}

/// How a trace ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// It says why.
    Ended(End),
    /// Without a word: the program was ended by force, or the disk refused.
    Silent,
    /// In the middle of a record: something is missing. Byte at which that record begins.
    Torn(u64),
}

/// Reads a trace from its beginning.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    offset: u64,
    at: Time,
    /// The record that is being read, and how far.
    record: Vec<u8>,
    read: usize,
    /// Where it begins.
    begin: u64,
    tail: Option<Tail>,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    pub fn open(mut input: R) -> Result<(Head, Reader<R>), TraceError> {
        let mut magic = Vec::new();
        (&mut input).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        let (name, version) = MAGIC.split_at(MAGIC.len() - 1);
        match magic.strip_prefix(name) {
            Some(found) if found == version => {}
            Some(&[found]) => return Err(TraceError::Version(found)),
            _ => return Err(TraceError::NotATrace),
        }
        let mut offset = MAGIC.len() as u64;
        let content = match record::read(&mut input, &mut offset)? {
            Found::Record(content) => content,
            Found::End | Found::Torn => return Err(TraceError::NoHead),
        };
        let head = match content.split_first() {
            Some((&kind::HEAD, mut rest)) => Head::take(&mut rest).filter(|_| rest.is_empty()),
            _ => None,
        };
        let head = head.ok_or(TraceError::Damaged { offset: MAGIC.len() as u64 })?;
        let reader = Reader { input, offset, at: Time::ZERO, record: Vec::new(), read: 0, begin: offset, tail: None };
        Ok((head, reader))
    }

    /// The next event; `None` at the end, which [`Reader::tail`] tells about.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TraceError> {
        while self.read == self.record.len() {
            if self.tail.is_some() || !self.next_record()? {
                return Ok(None);
            }
        }
        let mut rest = &self.record[self.read..];
        let entry = entry(&mut rest, self.at).ok_or(TraceError::Damaged { offset: self.begin })?;
        self.at = entry.at;
        self.read = self.record.len() - rest.len();
        Ok(Some(entry))
    }

    /// How it ends; `None` before the end.
    pub fn tail(&self) -> Option<Tail> {
        self.tail
    }

    /// Reads a record of events; `false` at the end.
    fn next_record(&mut self) -> Result<bool, TraceError> {
        self.begin = self.offset;
        let content = match record::read(&mut self.input, &mut self.offset)? {
            Found::Record(content) => content,
            Found::End => return Ok(self.ends(Tail::Silent)),
            Found::Torn => return Ok(self.ends(Tail::Torn(self.begin))),
        };
        match *content {
            [kind::EVENTS, ..] => {
                (self.record, self.read) = (content, 1);
                Ok(true)
            }
            [kind::END, 0] => Ok(self.ends(Tail::Ended(End::Stopped))),
            [kind::END, 1] => Ok(self.ends(Tail::Ended(End::Full))),
            _ => Err(TraceError::Damaged { offset: self.begin }),
        }
    }

    fn ends(&mut self, tail: Tail) -> bool {
        self.tail = Some(tail);
        false
    }
}

fn entry(rest: &mut &[u8], last: Time) -> Option<Entry> {
    let at = last + Duration::from_micros(u64::take(rest)?);
    let event = event::take(rest)?;
    if rest.is_empty() {
        return Some(Entry { at, event, answer: None });
    }
    let count = usize::take(rest)?;
    if count > MAX_EFFECTS {
        return None;
    }
    let kinds = take_bytes(rest, count)?.to_vec();
    let digest = Field::take(rest)?;
    Some(Entry { at, event, answer: Some(Answer { kinds, digest }) })
}
