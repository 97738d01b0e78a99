//! Two questions that belong to one announce, and one answer of both.

use super::TrackerError;
use shoal_swarm::AnnounceReply;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// How long one family's answer waits for the other's. Chosen: a working one needs less; a broken one must not hold up peers.
const GRACE: Duration = Duration::from_secs(2);

type Answer = Result<AnnounceReply, TrackerError>;

/// Asks both at once. A good answer waits for the other a bounded time; a failure waits for it to its end.
pub(super) async fn asked_both(first: impl Future<Output = Answer>, second: impl Future<Output = Answer>) -> Answer {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut other) = (None::<Answer>, None::<Answer>);
    let mut until = None;
    while one.is_none() || other.is_none() {
        tokio::select! {
            answer = &mut first, if one.is_none() => one = Some(answer),
            answer = &mut second, if other.is_none() => other = Some(answer),
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
        }
        if [&one, &other].into_iter().flatten().any(Result::is_ok) {
            until = until.or_else(|| Some(Instant::now() + GRACE));
        }
    }
    match (one, other) {
        (Some(one), Some(other)) => merge(one, other),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => Err(TrackerError::Malformed),
    }
}

/// A tracker that knows one of a hybrid's hashes is asked again as it says for that one. Of two failures, what the tracker
/// itself said counts.
pub(super) fn merge(first: Answer, second: Answer) -> Answer {
    let (mut merged, other) = match (first, second) {
        (Ok(first), Ok(second)) => (first, second),
        (Ok(only), Err(_)) | (Err(_), Ok(only)) => return Ok(only),
        (Err(_), Err(said @ TrackerError::Failure { .. })) => return Err(said),
        (Err(error), Err(_)) => return Err(error),
    };
    merged.interval = merged.interval.max(other.interval);
    merged.min_interval = merged.min_interval.max(other.min_interval);
    merged.tracker_id = merged.tracker_id.or(other.tracker_id);
    // Most peers are in both swarms, so the counts are not added.
    merged.seeds = merged.seeds.max(other.seeds);
    merged.leeches = merged.leeches.max(other.leeches);
    merged.warning = merged.warning.or(other.warning);
    merged.forbidden = merged.forbidden.max(other.forbidden);
    merged.external_ip = merged.external_ip.or(other.external_ip);
    let known: BTreeSet<_> = merged.peers.iter().copied().collect();
    merged.peers.extend(other.peers.into_iter().filter(|peer| !known.contains(peer)));
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(seeds: u32) -> Answer {
        Ok(AnnounceReply { seeds: Some(seeds), ..AnnounceReply::default() })
    }

    async fn after(secs: u64, answer: Answer) -> Answer {
        tokio::time::sleep(Duration::from_secs(secs)).await;
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_does_not_work_holds_up_the_other_two_seconds_at_most() {
        for (first, second, seeds, waited) in [
            (after(0, good(1)), after(1, good(2)), 2, 1),
            (after(0, good(1)), after(9, good(2)), 1, 2),
            (after(9, good(1)), after(5, Err(TrackerError::Malformed)), 1, 9),
        ] {
            let before = Instant::now();
            let answer = asked_both(first, second).await.unwrap();
            assert_eq!((answer.seeds, before.elapsed().as_secs()), (Some(seeds), waited));
        }
    }

    #[test]
    fn of_two_failures_the_trackers_own_words_count() {
        let said = || Err(TrackerError::Failure { reason: "no".to_owned() });
        for both in [(said(), Err(TrackerError::Url)), (Err(TrackerError::Url), said())] {
            assert!(matches!(merge(both.0, both.1), Err(TrackerError::Failure { .. })));
        }
    }
}
