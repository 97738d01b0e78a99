//! One question to a UDP tracker (BEP 15): what to send, what to make of what comes, without a socket or a clock.
//!
//! A connection id comes first, unless one is kept. Each request has a random number, and what does not carry the number of
//! the last request, or does not answer it, is passed over: who cannot see our datagrams can only guess. A kept id may be
//! of no more use; a refusal or silence then costs one new id, no more.

use super::packet::{self, Announce, Body, Family};
use shoal_machine::Rng;
use std::time::Duration;

/// What is asked.
#[derive(Debug, Clone)]
pub(in super::super) enum Question {
    Announce(Box<Announce>),
    Scrape(Vec<[u8; 20]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    /// `kept`: the id is from an earlier exchange.
    Asking {
        connection: u64,
        kept: bool,
    },
}

/// What a datagram makes of an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Ignored,
    /// There is something else to send now.
    Send,
    /// An answer, or a refusal in one line.
    Done(Result<Body, String>),
}

/// One question and where it is at.
#[derive(Debug)]
pub(super) struct Exchange {
    question: Question,
    family: Family,
    state: State,
    transaction: u32,
    /// Before what was sent is sent again.
    wait: Duration,
    rng: Rng,
}

impl Exchange {
    /// `kept`: a connection id that may still be good. `wait`: before the first datagram is sent again; doubles each time.
    pub(super) fn new(question: Question, family: Family, kept: Option<u64>, wait: Duration, rng: Rng) -> Exchange {
        let state = match kept {
            Some(connection) => State::Asking { connection, kept: true },
            None => State::Connecting,
        };
        let mut exchange = Exchange { question, family, state, transaction: 0, wait, rng };
        exchange.renumber();
        exchange
    }

    /// What to send.
    pub(super) fn datagram(&self) -> Vec<u8> {
        match (&self.state, &self.question) {
            (State::Connecting, _) => packet::connect(self.transaction),
            (State::Asking { connection, .. }, Question::Announce(announce)) => {
                packet::announce(*connection, self.transaction, announce)
            }
            (State::Asking { connection, .. }, Question::Scrape(hashes)) => {
                packet::scrape(*connection, self.transaction, hashes)
            }
        }
    }

    /// How long to wait for an answer to it before [`Exchange::silence`].
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// Nothing came in time: the same again, or a new connection id if a kept one was of no use.
    pub(super) fn silence(&mut self) {
        self.wait *= 2;
        self.drop_kept();
    }

    /// A datagram came from the tracker's address.
    pub(super) fn receive(&mut self, datagram: &[u8]) -> Step {
        let Some(packet) = packet::parse(datagram, self.family) else { return Step::Ignored };
        if packet.transaction != self.transaction {
            return Step::Ignored;
        }
        match (self.state, packet.body, &self.question) {
            (State::Connecting, Body::Connected(connection), _) => {
                self.state = State::Asking { connection, kept: false };
                self.renumber();
                Step::Send
            }
            (_, Body::Failed(reason), _) => {
                if self.drop_kept() {
                    Step::Send
                } else {
                    Step::Done(Err(reason))
                }
            }
            (State::Asking { .. }, body @ Body::Announced { .. }, Question::Announce(_))
            | (State::Asking { .. }, body @ Body::Scraped(_), Question::Scrape(_)) => Step::Done(Ok(body)),
            _ => Step::Ignored,
        }
    }

    /// The connection id that it asks with, if it has one.
    pub(super) fn connection(&self) -> Option<u64> {
        match self.state {
            State::Asking { connection, .. } => Some(connection),
            State::Connecting => None,
        }
    }

    fn drop_kept(&mut self) -> bool {
        let dropped = matches!(self.state, State::Asking { kept: true, .. });
        if dropped {
            self.state = State::Connecting;
            self.renumber();
        }
        dropped
    }

    fn renumber(&mut self) {
        // The lower half.
        self.transaction = self.rng.next_u64() as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(3);

    fn scrape(kept: Option<u64>) -> Exchange {
        Exchange::new(Question::Scrape(vec![[7; 20]]), Family::V4, kept, WAIT, Rng::new(1))
    }

    fn answer(action: u32, exchange: &Exchange, rest: &[u8]) -> Vec<u8> {
        [&action.to_be_bytes()[..], &exchange.transaction.to_be_bytes(), rest].concat()
    }

    fn is_connect(exchange: &Exchange) -> bool {
        exchange.datagram().len() == 16
    }

    #[test]
    fn an_id_comes_first_and_then_the_question_with_it() {
        let mut exchange = scrape(None);
        assert!(is_connect(&exchange));
        let first = exchange.transaction;
        let connected = answer(0, &exchange, &5_u64.to_be_bytes());
        assert_eq!(exchange.receive(&connected), Step::Send);
        assert_eq!(exchange.connection(), Some(5));
        assert!(exchange.datagram().starts_with(&5_u64.to_be_bytes()) && exchange.transaction != first);
        let scraped = answer(2, &exchange, &[0; 12]);
        assert!(matches!(exchange.receive(&scraped), Step::Done(Ok(Body::Scraped(all))) if all.len() == 1));
    }

    #[test]
    fn a_million_blind_answers_are_passed_over() {
        let mut exchange = scrape(None);
        let mut others = Rng::new(2);
        for number in 0..1_000_000_u32 {
            let forged = others.next_u64() as u32;
            let action = number % 5;
            if forged != exchange.transaction {
                let datagram = [&action.to_be_bytes()[..], &forged.to_be_bytes(), &[9; 8]].concat();
                assert_eq!(exchange.receive(&datagram), Step::Ignored);
            }
        }
        assert!(is_connect(&exchange) && exchange.connection().is_none());
    }

    #[test]
    fn what_does_not_answer_the_question_is_passed_over() {
        let mut exchange = scrape(Some(4));
        for action in [0, 1] {
            let datagram = answer(action, &exchange, &[0; 12]);
            assert_eq!(exchange.receive(&datagram), Step::Ignored);
        }
        let mut connecting = scrape(None);
        let early = answer(2, &connecting, &[0; 12]);
        assert_eq!(connecting.receive(&early), Step::Ignored);
    }

    #[test]
    fn a_kept_id_that_is_refused_or_met_with_silence_is_replaced_once() {
        let mut exchange = scrape(Some(4));
        assert!(!is_connect(&exchange));
        let refused = answer(3, &exchange, b"who?");
        assert_eq!(exchange.receive(&refused), Step::Send);
        assert!(is_connect(&exchange));
        let refused = answer(3, &exchange, b"no");
        assert_eq!(exchange.receive(&refused), Step::Done(Err("no".to_owned())));
        let mut exchange = scrape(Some(4));
        exchange.silence();
        assert!(is_connect(&exchange));
    }

    #[test]
    fn four_datagrams_go_out_in_thirty_seconds_of_silence() {
        let mut exchange = scrape(None);
        let (mut at, mut sent) = (Duration::ZERO, 0);
        while at < Duration::from_secs(30) {
            sent += 1;
            at += exchange.wait();
            exchange.silence();
        }
        assert_eq!(sent, 4, "at 0, 3, 9 and 21 s");
    }
}
