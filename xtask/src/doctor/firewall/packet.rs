//! A packet on its way through a ruleset: what becomes of it, and where.

use std::net::Ipv4Addr;

use super::rules::{Base, Chain, Field, Hook, Rule, Ruleset, Verdict, every};
use crate::host::Route;
use crate::ports::Protocol;

/// The first packet of a connection, or the answer to it.
#[derive(Debug, Clone)]
pub struct Packet {
    pub protocol: Protocol,
    pub source: (Ipv4Addr, u16),
    pub destination: (Ipv4Addr, u16),
    /// Where the client sent it, whatever became of that.
    pub original: (Ipv4Addr, u16),
    /// Empty for what this machine sends, and `output` for what it takes.
    pub input: String,
    pub output: String,
    pub tracked: bool,
    pub reply: bool,
    /// Whether its destination may have been changed by a rule that is not understood.
    pub vague: bool,
}

/// What the machine has, as far as the way of a packet goes.
#[derive(Debug)]
pub struct Machine {
    pub addresses: Vec<Ipv4Addr>,
    pub routes: Vec<Route>,
}

/// What is known of a packet.
#[derive(Debug)]
pub enum Fact<'a> {
    Name(&'a str),
    Number(u64),
}

/// What becomes of a connection. The packet is the one that was stopped, or the first one as it arrives.
#[derive(Debug)]
pub enum Fate<'a> {
    Passes(Packet),
    Blocked(Stop<'a>),
    /// It is stopped unless a rule before, with a condition that is not understood, lets it through.
    Doubtful(Stop<'a>),
}

/// Where a packet is stopped.
#[derive(Debug)]
pub struct Stop<'a> {
    pub base: &'a Chain,
    pub hook: Hook,
    /// From the base chain to the one whose rule it is.
    pub chains: Vec<&'a Chain>,
    /// Nothing when it is the policy of the base chain.
    pub rule: Option<&'a Rule>,
    pub packet: Packet,
}

impl Packet {
    /// The first packet from a client to this machine.
    pub fn new(protocol: Protocol, source: Ipv4Addr, destination: (Ipv4Addr, u16), input: &str) -> Packet {
        // Clients take a port of the range that the kernel gives to those who ask for none.
        let source = (source, 40_000);
        let (input, output) = (input.to_owned(), String::new());
        Packet {
            protocol,
            source,
            destination,
            original: destination,
            input,
            output,
            tracked: true,
            reply: false,
            vague: false,
        }
    }

    fn answer(self) -> Packet {
        Packet {
            source: self.destination,
            destination: self.source,
            input: self.output,
            output: self.input,
            reply: true,
            ..self
        }
    }

    /// Nothing when it is not known.
    pub fn fact(&self, field: Field) -> Option<Fact<'_>> {
        let address = |address: Ipv4Addr| Fact::Number(u64::from(u32::from(address)));
        Some(match field {
            Field::Family => Fact::Name("ipv4"),
            Field::Flags if !self.reply => Fact::Name("syn"),
            Field::Protocol => Fact::Name(match self.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            }),
            Field::Source => address(self.source.0),
            Field::SourcePort => Fact::Number(self.source.1.into()),
            Field::Destination => address(self.destination.0),
            Field::DestinationPort => Fact::Number(self.destination.1.into()),
            Field::OriginalDestination if self.tracked => address(self.original.0),
            Field::OriginalDestinationPort if self.tracked => Fact::Number(self.original.1.into()),
            Field::Input => Fact::Name(&self.input),
            Field::Output => Fact::Name(&self.output),
            Field::State if !self.tracked => Fact::Name("untracked"),
            Field::State => Fact::Name(if self.reply { "established" } else { "new" }),
            Field::Status => {
                let changed = if self.reply { self.source } else { self.destination };
                Fact::Name(if self.tracked && changed != self.original { "dnat" } else { "" })
            }
            Field::Direction => Fact::Name(if self.reply { "reply" } else { "original" }),
            Field::SourceType => Fact::Name(if self.input.is_empty() { "local" } else { "unicast" }),
            // It is asked for before the destination is changed, and answers leave.
            Field::DestinationType => {
                let stays = !self.reply && self.destination == self.original;
                Fact::Name(if stays { "local" } else { "unicast" })
            }
            Field::OriginalDestination | Field::OriginalDestinationPort | Field::Flags | Field::Unknown => return None,
        })
    }
}

impl Stop<'_> {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.chains.iter().map(|chain| chain.name.as_str())
    }
}

/// Sends the first packet of a connection in, and the answer to it out.
pub fn send<'a>(rules: &'a Ruleset, machine: &Machine, mut packet: Packet) -> Fate<'a> {
    let arrived = match arrive(rules, machine, &mut packet) {
        Ok(()) => packet,
        Err(fate) => return *fate,
    };
    let forwarded = !arrived.output.is_empty();
    let mut answer = arrived.clone().answer();
    let way: &[Hook] = if forwarded {
        &[Hook::Prerouting, Hook::Forward, Hook::Postrouting]
    } else {
        &[Hook::Output, Hook::Postrouting]
    };
    for hook in way {
        if let Err(fate) = cross(rules, machine, *hook, &mut answer) {
            return *fate;
        }
    }
    Fate::Passes(arrived)
}

fn arrive<'a>(rules: &'a Ruleset, machine: &Machine, packet: &mut Packet) -> Result<(), Box<Fate<'a>>> {
    cross(rules, machine, Hook::Ingress, packet)?;
    cross(rules, machine, Hook::Prerouting, packet)?;
    if machine.addresses.contains(&packet.destination.0) {
        return cross(rules, machine, Hook::Input, packet);
    }
    let leading = machine.routes.iter().filter(|route| route.subnet.contains(packet.destination.0));
    let nearest = leading.max_by_key(|route| route.subnet.prefix);
    packet.output = nearest.map(|route| route.interface.clone()).unwrap_or_default();
    cross(rules, machine, Hook::Forward, packet)?;
    cross(rules, machine, Hook::Postrouting, packet)
}

/// Through every base chain of a hook: an accept ends one chain, a drop ends the packet.
fn cross<'a>(rules: &'a Ruleset, machine: &Machine, hook: Hook, packet: &mut Packet) -> Result<(), Box<Fate<'a>>> {
    for (chain, base) in rules.at(hook) {
        let met = match hook {
            // nft 1.0.6 does not say of which interface it is.
            Hook::Ingress => base.devices.is_empty() || base.devices.contains(&packet.input),
            _ => !(base.nat && (packet.reply || !packet.tracked)),
        };
        if !met {
            continue;
        }
        let before = packet.clone();
        let walk = |packet: &mut Packet, guessing| {
            Walk { rules, machine, table: &chain.table, guessing }.chain(chain, packet, 0)
        };
        let ends = walk(packet, false);
        let stopped = ends.dropped.is_some() || (ends.through && base.drops);
        let changed = packet.destination != before.destination;
        if !stopped && (changed || !base.nat) {
            continue;
        }
        let guessed = walk(&mut before.clone(), true);
        if !stopped {
            packet.vague |= guessed.changed;
            continue;
        }
        let stop = stop(chain, base, ends, before);
        let elsewhere = hook == Hook::Ingress && base.devices.is_empty();
        let doubtful = elsewhere || stop.packet.vague || guessed.accepted || (guessed.through && !base.drops);
        return Err(Box::new(if doubtful { Fate::Doubtful(stop) } else { Fate::Blocked(stop) }));
    }
    Ok(())
}

fn stop<'a>(base_chain: &'a Chain, base: &Base, ends: Ends<'a>, packet: Packet) -> Stop<'a> {
    let (chains, rule) = match ends.dropped {
        Some((chains, rule)) => (chains.into_iter().rev().collect(), Some(rule)),
        None => (vec![base_chain], None),
    };
    Stop { base: base_chain, hook: base.hook, chains, rule, packet }
}

/// How a packet may leave a chain. Without guessing exactly one of them is so.
#[derive(Debug, Default)]
struct Ends<'a> {
    accepted: bool,
    /// The chains from the inmost one outwards, and the rule.
    dropped: Option<(Vec<&'a Chain>, &'a Rule)>,
    /// It comes to the end, or is sent back.
    through: bool,
    /// It may get another destination.
    changed: bool,
}

struct Walk<'a, 'b> {
    rules: &'a Ruleset,
    machine: &'b Machine,
    table: &'b str,
    /// Whether a rule with an unknown condition is taken both ways. If not, it does not count.
    guessing: bool,
}

/// The kernel refuses rules that jump deeper than sixteen chains.
const DEEPEST: usize = 16;

impl<'a> Walk<'a, '_> {
    fn chain(&self, chain: &'a Chain, packet: &mut Packet, depth: usize) -> Ends<'a> {
        let mut ends = Ends::default();
        for rule in &chain.rules {
            let sure = match rule.holds(packet) {
                Some(true) => true,
                None if self.guessing => false,
                _ => continue,
            };
            let goes_on = self.verdict(chain, rule, &rule.verdict, sure, packet, depth, &mut ends);
            if sure && !goes_on {
                return ends;
            }
        }
        ends.through = true;
        ends
    }

    /// Adds to `ends` what the verdict may lead to, and says whether the next rule may be reached.
    #[allow(clippy::too_many_arguments, reason = "the state of one walk; a struct for one call would say no more")]
    fn verdict(
        &self,
        chain: &'a Chain,
        rule: &'a Rule,
        verdict: &'a Verdict,
        sure: bool,
        packet: &mut Packet,
        depth: usize,
        ends: &mut Ends<'a>,
    ) -> bool {
        match verdict {
            Verdict::Continue => true,
            Verdict::Accept => {
                ends.accepted = true;
                false
            }
            Verdict::Drop => {
                ends.dropped.get_or_insert_with(|| (vec![chain], rule));
                false
            }
            Verdict::Return => {
                ends.through = true;
                false
            }
            Verdict::Jump(target) | Verdict::Goto(target) => {
                let Some(inner) = self.rules.chain(self.table, target).filter(|_| depth < DEEPEST) else { return true };
                let reached = self.chain(inner, packet, depth + 1);
                ends.accepted |= reached.accepted;
                ends.changed |= reached.changed;
                if let (None, Some((mut chains, rule))) = (&ends.dropped, reached.dropped) {
                    chains.push(chain);
                    ends.dropped = Some((chains, rule));
                }
                let back = matches!(verdict, Verdict::Jump(_));
                ends.through |= reached.through && !back;
                reached.through && back
            }
            Verdict::Dnat { address, port } => self.redirect(*address, *port, sure, packet, ends),
            Verdict::Redirect { port } => {
                let own = self.machine.addresses.first().copied();
                self.redirect(own, *port, sure, packet, ends)
            }
            Verdict::Untrack => {
                packet.tracked &= !sure;
                true
            }
            Verdict::Map(fields, entries) => {
                let mut goes_on = true;
                for (values, verdict) in entries {
                    let held = every(fields, values, packet);
                    match held {
                        Some(true) => return self.verdict(chain, rule, verdict, sure, packet, depth, ends),
                        None if self.guessing => {
                            goes_on |= self.verdict(chain, rule, verdict, false, packet, depth, ends)
                        }
                        _ => {}
                    }
                }
                goes_on
            }
        }
    }

    fn redirect(
        &self,
        address: Option<Ipv4Addr>,
        port: Option<u16>,
        sure: bool,
        packet: &mut Packet,
        ends: &mut Ends<'a>,
    ) -> bool {
        ends.accepted = true;
        ends.changed = true;
        if sure && !self.guessing {
            let (old, old_port) = packet.destination;
            packet.destination = (address.unwrap_or(old), port.unwrap_or(old_port));
        }
        false
    }
}
