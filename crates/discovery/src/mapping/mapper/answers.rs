//! What a router says by PCP and NAT-PMP, and what follows from it.

use super::{Effect, Granted, Mapper, Method, Phase, Round};
use crate::mapping::nat_pmp::{self, Transport};
use crate::mapping::pcp;
use shoal_machine::Effects;
use std::net::IpAddr;
use std::time::Duration;

impl Mapper {
    /// Whether the router lost its table since it last spoke (RFC 6886, 3.6): its clock went back, or stands far behind
    /// ours, which may run an eighth faster.
    fn lost_table(&mut self, epoch_s: u32) -> bool {
        let before = self.epoch.replace((self.now, epoch_s));
        before.is_some_and(|(at, before)| {
            let passed = self.now.since(at).as_secs();
            u64::from(epoch_s) + 2 < u64::from(before) + passed * 7 / 8
        })
    }

    pub(super) fn datagram(&mut self, bytes: &[u8], out: &mut Effects<Effect>) {
        match (nat_pmp::decode(bytes), pcp::decode(bytes)) {
            (Some(answer), _) => self.nat_pmp(answer, out),
            (_, Some(answer)) => self.pcp(answer, out),
            (None, None) => {}
        }
    }

    fn nat_pmp(&mut self, answer: nat_pmp::Answer, out: &mut Effects<Effect>) {
        use nat_pmp::Answer;
        if let (Phase::Asking(Round { method: Method::Pcp, .. }), Answer::Refused { result: 1, .. }) =
            (&self.phase, answer)
        {
            // It speaks NAT-PMP only (RFC 6887, appendix A).
            return self.begin(Method::NatPmp, out);
        }
        match answer {
            Answer::Address { epoch_s, address } => {
                let lost = self.lost_table(epoch_s);
                if let Phase::Asking(round) = &mut self.phase
                    && round.method == Method::NatPmp
                {
                    round.address = Some(address.into());
                    self.settle_if_answered(out);
                } else if lost {
                    self.renew(out);
                }
            }
            Answer::Map { transport, epoch_s, internal_port, external_port, lifetime_s } => {
                if self.internal(transport) == Some(internal_port) {
                    let _ = self.lost_table(epoch_s);
                    self.answered(Method::NatPmp, transport, external_port, lifetime_s, None, out);
                }
            }
            // The refusal of our second packet of PCP, which comes after we began anew: version 0 is never refused.
            Answer::Refused { result: 1, .. } => {}
            Answer::Refused { transport, result } => {
                let why = format!("NAT-PMP: {}", nat_pmp::describe(result));
                self.refused(Method::NatPmp, transport, why, out);
            }
        }
    }

    fn pcp(&mut self, answer: pcp::Answer, out: &mut Effects<Effect>) {
        use pcp::Answer;
        match answer {
            Answer::Epoch { epoch_s } => {
                if self.lost_table(epoch_s) && matches!(self.phase, Phase::Mapped { .. }) {
                    self.renew(out);
                }
            }
            Answer::Refused { result } => {
                self.refused(Method::Pcp, None, format!("PCP: {}", pcp::describe(result)), out);
            }
            Answer::Map { transport, nonce, internal_port, .. }
                if nonce != self.nonce(transport) || self.internal(transport) != Some(internal_port) => {}
            Answer::Map { result: 0, transport, epoch_s, external_port, external_ip, lifetime_s, .. } => {
                let _ = self.lost_table(epoch_s);
                self.answered(Method::Pcp, transport, external_port, lifetime_s, Some(external_ip), out);
            }
            Answer::Map { result, transport, .. } => {
                self.refused(Method::Pcp, Some(transport), format!("PCP: {}", pcp::describe(result)), out);
            }
        }
    }

    fn answered(
        &mut self,
        method: Method,
        transport: Transport,
        external: u16,
        lifetime_s: u32,
        address: Option<IpAddr>,
        out: &mut Effects<Effect>,
    ) {
        match &mut self.phase {
            Phase::Asking(round) if round.method == method && lifetime_s > 0 && external != 0 => {
                round.address = address.filter(|ip| !ip.is_unspecified()).or(round.address);
                let granted = Ok(Granted { external, lifetime: Duration::from_secs(lifetime_s.into()) });
                match transport {
                    Transport::Tcp => round.tcp = Some(granted),
                    Transport::Udp => round.udp = Some(granted),
                }
                self.settle_if_answered(out);
            }
            Phase::Removing { .. } if lifetime_s == 0 => {
                let Some(lease) = &mut self.lease else { return };
                match transport {
                    Transport::Tcp => lease.mapped.tcp = 0,
                    Transport::Udp => lease.mapped.udp = None,
                }
                if lease.mapped.tcp == 0 && lease.mapped.udp.is_none() {
                    self.finish(out);
                }
            }
            _ => {}
        }
    }

    /// `transport`: `None` where the router did not say which request, or refuses its address.
    fn refused(&mut self, method: Method, transport: Option<Transport>, why: String, out: &mut Effects<Effect>) {
        let Phase::Asking(round) = &mut self.phase else { return };
        if round.method != method {
            return;
        }
        match transport {
            Some(Transport::Udp) => round.udp = Some(Err(why)),
            Some(Transport::Tcp) | None => {
                if !self.refusals.contains(&why) {
                    self.refusals.push(why.clone());
                }
                round.tcp = Some(Err(why));
            }
        }
        self.settle_if_answered(out);
    }
}
