//! What `iptables-save` prints.

use std::collections::HashMap;

use super::rules::{Base, Chain, Condition, Field, Hook, Rule, Value, Verdict, addresses};

/// Every chain. `family` is the first word of the tables' names: `ip` when nft has the same tables under this name.
pub fn parse(text: &str, family: &str) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    let mut places = HashMap::new();
    let mut table = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(rest) = line.strip_prefix(':') {
            let mut words = rest.split_whitespace();
            let (Some(name), Some(policy)) = (words.next(), words.next()) else { continue };
            places.insert((table, name), chains.len());
            chains.push(Chain {
                table: format!("{family} {table}"),
                name: name.to_owned(),
                base: (policy != "-").then(|| base(table, name, policy == "DROP")).flatten(),
                rules: Vec::new(),
            });
        } else if let Some(rest) = line.strip_prefix("-A ") {
            let words = words(rest);
            let Some((chain, words)) = words.split_first() else { continue };
            if let Some(place) = places.get(&(table, chain.as_str())) {
                chains[*place].rules.push(rule(line, words));
            }
        }
    }
    chains
}

/// Whether it is what iptables wrote by nftables, so that nft lists the same rules again.
pub fn is_by_nft(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.contains("(nf_tables)"))
}

fn base(table: &str, chain: &str, drops: bool) -> Option<Base> {
    let hook = match chain {
        "PREROUTING" => Hook::Prerouting,
        "INPUT" => Hook::Input,
        "FORWARD" => Hook::Forward,
        "OUTPUT" => Hook::Output,
        "POSTROUTING" => Hook::Postrouting,
        _ => return None,
    };
    let nat = table == "nat";
    let priority = match table {
        "raw" => -300,
        "mangle" => -150,
        "nat" if matches!(hook, Hook::Prerouting | Hook::Output) => -100,
        "nat" => 100,
        "security" => 50,
        _ => 0,
    };
    Some(Base { hook, priority, nat, drops, devices: Vec::new() })
}

/// Words of a line; what is between quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut begun, mut quoted, mut escaped) = (String::new(), false, false, false);
    for character in line.chars() {
        match character {
            _ if escaped => {
                word.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(character);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

fn rule(line: &str, words: &[String]) -> Rule {
    let mut conditions = Vec::new();
    let mut verdict = Verdict::Continue;
    let mut negated = false;
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(option) = words.next() {
        if option == "!" {
            negated = true;
            continue;
        }
        // An option takes the words up to the next one.
        let mut values = Vec::new();
        while let Some(value) = words.next_if(|next| !next.starts_with('-') && *next != "!") {
            values.push(value);
        }
        let value = values.first().copied().unwrap_or_default();
        match option {
            "-j" => verdict = target(value),
            "-g" => verdict = Verdict::Goto(value.to_owned()),
            "--to-destination" => verdict = destination(value).unwrap_or(Verdict::Accept),
            "--to-ports" => {
                if let Verdict::Redirect { port } = &mut verdict {
                    *port = value.split('-').next().and_then(|port| port.parse().ok());
                }
            }
            "--notrack" => verdict = Verdict::Untrack,
            // What a target takes is no condition, nor is the name of a match or a comment.
            _ if verdict != Verdict::Continue || matches!(option, "-m" | "--comment") => {}
            _ => {
                if let Some(mut condition) = condition(option, &values) {
                    condition.negated ^= negated;
                    conditions.push(condition);
                }
            }
        }
        negated = false;
    }
    Rule { text: line.to_owned(), conditions, verdict }
}

fn target(name: &str) -> Verdict {
    match name {
        "ACCEPT" | "MASQUERADE" | "SNAT" | "NETMAP" => Verdict::Accept,
        // A program decides; nothing says that it drops.
        "NFQUEUE" | "QUEUE" => Verdict::Accept,
        "DROP" | "REJECT" | "TARPIT" => Verdict::Drop,
        "RETURN" => Verdict::Return,
        "DNAT" => Verdict::Dnat { address: None, port: None },
        "REDIRECT" => Verdict::Redirect { port: None },
        "NOTRACK" => Verdict::Untrack,
        // A chain, or a target that changes or logs the packet: there is no chain of its name then, and the walk goes on.
        name => Verdict::Jump(name.to_owned()),
    }
}

/// `172.30.0.10:8065`, `172.30.0.10` or `:8065`.
fn destination(text: &str) -> Option<Verdict> {
    let (address, port) = text.split_once(':').map_or((text, None), |(address, port)| (address, Some(port)));
    let first = address.split('-').next().filter(|address| !address.is_empty());
    let address = first.map(str::parse).transpose().ok()?;
    let port = port.and_then(|port| port.split(['-', '/']).next()?.parse().ok());
    Some(Verdict::Dnat { address, port })
}

/// Nothing for options that only say more about the one before them.
fn condition(option: &str, values: &[&str]) -> Option<Condition> {
    let value = values.first().copied().unwrap_or_default();
    let all = |read: fn(&str) -> Option<Value>| value.split(',').map(read).collect::<Option<Vec<Value>>>();
    let known = |field, values: Option<Vec<Value>>| {
        Some(values.map_or_else(Condition::unknown, |values| Condition::new(field, values)))
    };
    let names = || Some(value.split(',').map(|name| Value::Name(name.to_lowercase())).collect());
    // iptables writes `+` at the end of a name for any other end.
    let interface = || match value.strip_suffix('+') {
        Some(prefix) => Some(vec![Value::Name(format!("{prefix}*"))]),
        None => Some(vec![Value::Name(value.to_owned())]),
    };
    let syn = Condition::named(Field::Flags, "syn");
    match option {
        "-p" | "--protocol" if value == "all" => None,
        "-p" | "--protocol" => known(Field::Protocol, names()),
        "-s" | "--source" | "--src-range" => known(Field::Source, all(addresses)),
        "-d" | "--destination" | "--dst-range" => known(Field::Destination, all(addresses)),
        "--sport" | "--sports" | "--source-port" => known(Field::SourcePort, all(ports)),
        "--dport" | "--dports" | "--destination-port" => known(Field::DestinationPort, all(ports)),
        "-i" => known(Field::Input, interface()),
        "-o" => known(Field::Output, interface()),
        "--ctstate" | "--state" => known(Field::State, names()),
        "--ctstatus" => known(Field::Status, names()),
        "--ctdir" => known(Field::Direction, names()),
        "--ctorigdst" => known(Field::OriginalDestination, all(addresses)),
        "--ctorigdstport" => known(Field::OriginalDestinationPort, all(ports)),
        "--src-type" => known(Field::SourceType, names()),
        "--dst-type" => known(Field::DestinationType, names()),
        "--tcp-flags" => Some(match values {
            // The first packet of a connection has SYN alone. Which bits are looked at is the first word, which must be set the second.
            [mask, set] => Condition { negated: !(mask.split(',').any(|flag| flag == "SYN") && *set == "SYN"), ..syn },
            _ => Condition::unknown(),
        }),
        // One packet is below any limit.
        "--limit" => Some(Condition::constant(true)),
        "--limit-burst" => None,
        _ => Some(Condition::unknown()),
    }
}

/// `80` or `80:90`.
fn ports(text: &str) -> Option<Value> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    Some(Value::Range(first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_one_word_and_a_target_may_have_options() {
        let line = r#"-p udp -m comment --comment "a \"b\" -j DROP" -j REJECT --reject-with icmp-port-unreachable"#;
        let rule = rule(line, &words(line));
        assert_eq!(rule.conditions, [Condition::named(Field::Protocol, "udp")]);
        assert_eq!(rule.verdict, Verdict::Drop);
    }

    #[test]
    fn what_is_not_known_is_unknown_and_not_left_out() {
        let line = "-p tcp -m set ! --match-set clients src -j DROP";
        let rule = rule(line, &words(line));
        assert_eq!(rule.conditions[1].fields, [Field::Unknown]);
    }
}
