//! A ruleset of netfilter, whoever wrote it, and the conditions that its rules have.
//!
//! What nft and iptables say is brought into one form: a rule is a list of conditions and a verdict, a condition is a field of the
//! packet and the values that it may have. A condition that this program does not know has [`Field::Unknown`], and nobody guesses.

use std::collections::HashMap;
use std::fmt;

use super::packet::{Fact, Packet};

/// Every chain that an IPv4 packet can meet.
#[derive(Debug, Default)]
pub struct Ruleset {
    chains: Vec<Chain>,
    by_name: HashMap<(String, String), usize>,
}

#[derive(Debug)]
pub struct Chain {
    /// Family and name, as nft's command line has them: `inet filter`.
    pub table: String,
    pub name: String,
    /// Nothing for a chain that is only jumped to.
    pub base: Option<Base>,
    pub rules: Vec<Rule>,
}

/// Where a chain is hooked in.
#[derive(Debug)]
pub struct Base {
    pub hook: Hook,
    /// Smaller ones come first.
    pub priority: i64,
    /// Only the first packet of a connection meets a chain of type nat.
    pub nat: bool,
    /// Whether what no rule decides is dropped.
    pub drops: bool,
    /// For `ingress`: the interfaces. None when nft does not name them.
    pub devices: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

#[derive(Debug)]
pub struct Rule {
    /// As its owner would know it again.
    pub text: String,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    pub verdict: Verdict,
}

/// Some fields of a packet, which together must be, or must not be, one of some tuples of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub fields: Vec<Field>,
    pub negated: bool,
    pub values: Vec<Vec<Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `ipv4`: nobody else's packets are looked at.
    Family,
    Protocol,
    /// Of TCP: `syn` for the first packet.
    Flags,
    Source,
    SourcePort,
    Destination,
    DestinationPort,
    OriginalDestination,
    OriginalDestinationPort,
    Input,
    Output,
    /// Of the connection: `new`, `established`.
    State,
    /// `dnat`, when the connection goes to another address than the client thinks.
    Status,
    /// `original` or `reply`.
    Direction,
    /// `local` or `unicast`.
    SourceType,
    DestinationType,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// May end with `*`, as names of interfaces do.
    Name(String),
    Range(u64, u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on with the next rule.
    Continue,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// Another destination; what is not named stays. Without an address: this machine's own.
    Dnat {
        address: Option<std::net::Ipv4Addr>,
        port: Option<u16>,
    },
    Redirect {
        port: Option<u16>,
    },
    /// The packet has no connection from here on.
    Untrack,
    /// One verdict a value.
    Map(Vec<Field>, Vec<(Vec<Value>, Verdict)>),
}

impl Ruleset {
    pub fn new(mut chains: Vec<Chain>) -> Ruleset {
        // A stable sort: the kernel runs chains of the same priority in the order in which they came.
        chains.sort_by_key(|chain| chain.base.as_ref().map(|base| (base.hook, base.priority)));
        let name = |(index, chain): (usize, &Chain)| ((chain.table.clone(), chain.name.clone()), index);
        let by_name = chains.iter().enumerate().map(name).collect();
        Ruleset { chains, by_name }
    }

    /// The base chains of a hook, in the order in which a packet meets them.
    pub fn at(&self, hook: Hook) -> impl Iterator<Item = (&Chain, &Base)> {
        let based = self.chains.iter().filter_map(|chain| Some((chain, chain.base.as_ref()?)));
        based.filter(move |(_, base)| base.hook == hook)
    }

    pub fn chain(&self, table: &str, name: &str) -> Option<&Chain> {
        let index = self.by_name.get(&(table.to_owned(), name.to_owned()))?;
        self.chains.get(*index)
    }

    pub fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.chains.iter()
    }
}

impl Chain {
    /// Whether one of its own rules leads to a chain whose name starts so.
    pub fn leads_to(&self, prefix: &str) -> bool {
        self.rules.iter().any(|rule| match &rule.verdict {
            Verdict::Jump(target) | Verdict::Goto(target) => target.starts_with(prefix),
            _ => false,
        })
    }
}

impl Rule {
    /// Nothing when it depends on what is not known.
    pub fn holds(&self, packet: &Packet) -> Option<bool> {
        let mut known = true;
        for condition in &self.conditions {
            match condition.holds(packet) {
                Some(true) => {}
                // One that does not hold is enough, whatever the others are.
                Some(false) => return Some(false),
                None => known = false,
            }
        }
        known.then_some(true)
    }
}

impl Condition {
    pub fn new(field: Field, values: impl IntoIterator<Item = Value>) -> Condition {
        let values = values.into_iter().map(|value| vec![value]).collect();
        Condition { fields: vec![field], negated: false, values }
    }

    pub fn named(field: Field, name: &str) -> Condition {
        Condition::new(field, [Value::Name(name.to_owned())])
    }

    pub fn unknown() -> Condition {
        Condition::new(Field::Unknown, [])
    }

    /// One that holds always, or never.
    pub fn constant(holds: bool) -> Condition {
        Condition { fields: Vec::new(), negated: !holds, values: vec![Vec::new()] }
    }

    pub fn holds(&self, packet: &Packet) -> Option<bool> {
        let mut known = true;
        for values in &self.values {
            match every(&self.fields, values, packet) {
                Some(true) => return Some(!self.negated),
                Some(false) => {}
                None => known = false,
            }
        }
        // Without any value an unknown field stays unknown.
        (known && !self.fields.contains(&Field::Unknown)).then_some(self.negated)
    }
}

/// Whether each field has the value beside it.
pub fn every(fields: &[Field], values: &[Value], packet: &Packet) -> Option<bool> {
    let mut known = true;
    for (field, value) in fields.iter().zip(values) {
        match packet.fact(*field).map(|fact| value.is(&fact)) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => known = false,
        }
    }
    known.then_some(true)
}

impl Value {
    fn is(&self, fact: &Fact) -> bool {
        match (self, fact) {
            (Value::Range(first, last), Fact::Number(number)) => (first..=last).contains(&number),
            (Value::Name(pattern), Fact::Name(name)) => match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => pattern == name,
            },
            _ => false,
        }
    }

    /// Whatever the field is.
    pub fn any(field: Field) -> Value {
        match field {
            Field::Source | Field::SourcePort | Field::Destination | Field::DestinationPort => {
                Value::Range(0, u64::MAX)
            }
            Field::OriginalDestination | Field::OriginalDestinationPort => Value::Range(0, u64::MAX),
            _ => Value::Name("*".to_owned()),
        }
    }

    pub fn number(number: impl Into<u64>) -> Value {
        let number = number.into();
        Value::Range(number, number)
    }
}

/// `192.0.2.1`, `192.0.2.0/24`, `192.0.2.0/255.255.255.0` or `192.0.2.1-192.0.2.9`.
pub fn addresses(text: &str) -> Option<Value> {
    let number = |text: &str| Some(u64::from(u32::from(text.parse::<std::net::Ipv4Addr>().ok()?)));
    if let Some((first, last)) = text.split_once('-') {
        return Some(Value::Range(number(first)?, number(last)?));
    }
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    let prefix = match prefix.parse::<u32>() {
        Ok(prefix) => prefix,
        Err(_) => {
            let mask = u32::try_from(number(prefix)?).ok()?;
            // A mask with holes is no range.
            (mask.leading_ones() == mask.count_ones()).then_some(mask.count_ones())?
        }
    };
    let size = 1u64 << 32u32.checked_sub(prefix)?;
    let first = number(address)? / size * size;
    Some(Value::Range(first, first + size - 1))
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hook::Ingress => "ingress",
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        })
    }
}
