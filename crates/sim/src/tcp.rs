//! What TCP makes of a lossy way: a bound on a connection's rate, and bytes that come late.
//!
//! No packets are simulated. The rate is capped by the throughput equation of RFC 5348, section 3.1 (Padhye, Firoiu, Towsley
//! and Kurose, "Modeling TCP throughput", 1998; for little loss it is that of Mathis et al. 1997), with one packet per
//! acknowledgement and a retransmission time-out of four round trips as there. A lost packet delays its message, and so all
//! that follow it, by one round trip (fast retransmit, or RFC 8985's tail loss probe); if it is lost again, by a time-out that
//! doubles each time (RFC 6298). What CUBIC or BBR would get more out of a long fat way is left out.

use shoal_machine::Rng;
use std::time::Duration;

/// Payload bytes of a full packet: Ethernet's 1,500 less 40 of headers and 12 of timestamps.
pub(crate) const SEGMENT_BYTES: u64 = 1_448;
/// The least retransmission time-out. RFC 6298 says a second; Linux has 200 ms.
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);
/// The greatest (RFC 6298: at least 60 s; Linux has 120).
const GREATEST_TIMEOUT: Duration = Duration::from_secs(120);
/// What a sender's socket holds at least (Linux: `tcp_wmem`'s second figure).
const LEAST_BUFFER_BYTES: u64 = 16 << 10;

/// Bytes per second that a connection reaches at most; `None` where nothing is lost.
pub(crate) fn rate_cap(round_trip: Duration, loss: f64) -> Option<u64> {
    if loss <= 0.0 {
        return None;
    }
    let round_trip_s = round_trip.as_secs_f64().max(1e-6);
    let timeouts = 12.0 * (3.0 * loss / 8.0).sqrt() * loss * (1.0 + 32.0 * loss * loss);
    let rate = SEGMENT_BYTES as f64 / (round_trip_s * ((2.0 * loss / 3.0).sqrt() + timeouts));
    Some((rate as u64).max(1))
}

/// Bytes that the sender's socket takes ahead of a connection with this rate: two windows, as Linux grows it.
pub(crate) fn send_buffer(rate_bytes_per_s: u64, round_trip: Duration) -> u64 {
    let window = u128::from(rate_bytes_per_s) * round_trip.as_micros() / 1_000_000;
    (2 * window).min(u128::from(u64::MAX)).max(u128::from(LEAST_BUFFER_BYTES)) as u64
}

/// How much later than without loss a message of so many bytes is whole.
pub(crate) fn retransmission(rng: &mut Rng, round_trip: Duration, loss: f64, bytes: u64) -> Duration {
    let packets = bytes.div_ceil(SEGMENT_BYTES).clamp(1, 1 << 20) as i32;
    if loss <= 0.0 || rng.unit() < (1.0 - loss).powi(packets) {
        return Duration::ZERO;
    }
    let mut delay = round_trip;
    let mut timeout = timeout_of(round_trip);
    while rng.chance(loss) {
        delay += timeout;
        timeout = (timeout * 2).min(GREATEST_TIMEOUT);
    }
    delay
}

/// How long after it was first sent a packet is tried for the first time at or after `outage`, while none comes through: each
/// try waits twice as long as the one before.
pub(crate) fn first_try_after(outage: Duration, round_trip: Duration) -> Duration {
    let mut timeout = timeout_of(round_trip);
    let mut waited = Duration::ZERO;
    while waited < outage {
        waited += timeout;
        timeout = (timeout * 2).min(GREATEST_TIMEOUT);
    }
    waited
}

fn timeout_of(round_trip: Duration) -> Duration {
    (round_trip * 2).clamp(LEAST_TIMEOUT, GREATEST_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_is_that_of_mathis_where_little_is_lost() {
        let round_trip = Duration::from_millis(100);
        // MSS / RTT * sqrt(3 / 2) / sqrt(p), which the time-outs' term hardly changes here.
        let mathis = 1_448.0 / 0.1 * 1.5_f64.sqrt() / 1e-5_f64.sqrt();
        let ours = rate_cap(round_trip, 1e-5).unwrap() as f64;
        assert!((0.99..=1.0).contains(&(ours / mathis)), "{ours} {mathis}");
        assert_eq!(rate_cap(round_trip, 0.0), None);
    }

    #[test]
    fn more_loss_and_longer_ways_cost_rate() {
        let rate = |ms, loss| rate_cap(Duration::from_millis(ms), loss).unwrap();
        assert!(rate(20, 0.01) > rate(20, 0.02) && rate(20, 0.02) > rate(20, 0.3));
        assert_eq!(rate(20, 0.01) / 10, rate(200, 0.01));
        // 1 % at 20 ms: RFC 5348's equation by hand: 1448 / (0.02 * (0.08165 + 0.00737)).
        assert!((812_000..=815_000).contains(&rate(20, 0.01)), "{}", rate(20, 0.01));
        assert!(rate(2_000, 0.3) > 0);
    }

    #[test]
    fn lost_packets_delay_by_a_round_trip_and_seldom_by_more() {
        let mut rng = Rng::new(1);
        let round_trip = Duration::from_millis(50);
        let delays: Vec<Duration> = (0..20_000).map(|_| retransmission(&mut rng, round_trip, 0.01, 16_397)).collect();
        let share = |least: Duration| delays.iter().filter(|&&delay| delay >= least).count() as f64 / 20_000.0;
        // 12 packets: 11.4 % of messages lose one.
        assert!((0.105..=0.123).contains(&share(round_trip)), "{}", share(round_trip));
        assert!((0.0005..=0.002).contains(&share(round_trip + LEAST_TIMEOUT)), "{}", share(round_trip + LEAST_TIMEOUT));
        assert_eq!(retransmission(&mut rng, round_trip, 0.0, 1 << 30), Duration::ZERO);
    }

    #[test]
    fn after_an_outage_the_next_try_is_at_most_as_far_as_the_outage_was_long() {
        for outage_ms in [1, 100, 500, 3_000, 60_000] {
            let outage = Duration::from_millis(outage_ms);
            let waited = first_try_after(outage, Duration::from_millis(20));
            assert!(waited >= outage && waited <= outage * 2 + LEAST_TIMEOUT * 2, "{outage:?}: {waited:?}");
        }
        assert_eq!(first_try_after(Duration::ZERO, Duration::from_millis(20)), Duration::ZERO);
    }

    #[test]
    fn a_slow_connection_holds_little() {
        assert_eq!(send_buffer(50_000, Duration::from_millis(20)), LEAST_BUFFER_BYTES);
        assert_eq!(send_buffer(10_000_000, Duration::from_millis(100)), 2_000_000);
    }
}
