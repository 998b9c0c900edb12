//! What `nft --json list ruleset` prints (libnftables-json(5)).

use std::collections::HashMap;

use anyhow::Context as _;
use serde_json::Value as Json;

use super::rules::{Base, Chain, Condition, Field, Hook, Rule, Value, Verdict, addresses};

/// Every chain that an IPv4 packet can meet, but for the tables that are known already.
pub fn parse(text: &str, known: &[&str]) -> anyhow::Result<Vec<Chain>> {
    let json: Json = serde_json::from_str(text).context("`nft --json list ruleset` printed no JSON")?;
    let items = json["nftables"].as_array().context("`nft --json list ruleset` printed no ruleset")?;
    let mut sets = Sets::new();
    let mut chains: Vec<Chain> = Vec::new();
    let mut places = HashMap::new();
    for item in items {
        let set = if item["map"].is_null() { &item["set"] } else { &item["map"] };
        if let Some(elements) = set["elem"].as_array() {
            sets.insert((table(set), text_of(&set["name"])), elements.clone());
        }
        let chain = &item["chain"];
        let family = text_of(&chain["family"]);
        if ["ip", "inet", "netdev"].contains(&family.as_str()) && !known.contains(&table(chain).as_str()) {
            places.insert((table(chain), text_of(&chain["name"])), chains.len());
            let (table, name) = (table(chain), text_of(&chain["name"]));
            chains.push(Chain { table, name, base: base(chain), rules: Vec::new() });
        }
    }
    for rule in items.iter().map(|item| &item["rule"]) {
        let table = table(rule);
        if let Some(place) = places.get(&(table.clone(), text_of(&rule["chain"]))) {
            chains[*place].rules.push(Reader { table: &table, sets: &sets }.rule(&rule["expr"]));
        }
    }
    Ok(chains)
}

/// Table and name to elements.
type Sets = HashMap<(String, String), Vec<Json>>;

fn table(item: &Json) -> String {
    format!("{} {}", text_of(&item["family"]), text_of(item.get("table").unwrap_or(&item["name"])))
}

fn text_of(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn base(chain: &Json) -> Option<Base> {
    let hook = match chain["hook"].as_str()? {
        "ingress" => Hook::Ingress,
        "prerouting" => Hook::Prerouting,
        "input" => Hook::Input,
        "forward" => Hook::Forward,
        "output" => Hook::Output,
        "postrouting" => Hook::Postrouting,
        _ => return None,
    };
    let devices = match &chain["dev"] {
        Json::Array(devices) => devices.iter().map(text_of).collect(),
        Json::Null => Vec::new(),
        device => vec![text_of(device)],
    };
    let priority = chain["prio"].as_i64().unwrap_or_default();
    Some(Base { hook, priority, nat: chain["type"] == "nat", drops: chain["policy"] == "drop", devices })
}

struct Reader<'a> {
    table: &'a str,
    sets: &'a Sets,
}

impl Reader<'_> {
    fn rule(&self, statements: &Json) -> Rule {
        let mut rule = Rule { text: String::new(), conditions: Vec::new(), verdict: Verdict::Continue };
        let mut words = Vec::new();
        for (kind, body) in statements.as_array().into_iter().flatten().filter_map(Json::as_object).flatten() {
            let verdict = self.verdict(kind, body);
            let conditions = if verdict.is_some() { Vec::new() } else { self.conditions(kind, body) };
            let negligible = verdict.is_none() && conditions.is_empty();
            rule.conditions.extend(conditions);
            match verdict {
                Some(Some(verdict)) => rule.verdict = verdict,
                // Its end is not known: an unknown condition keeps both ways open.
                Some(None) => {
                    rule.conditions.push(Condition::unknown());
                    rule.verdict = Verdict::Dnat { address: None, port: None };
                }
                None => {}
            }
            if !negligible {
                words.push(shown(kind, body));
            }
        }
        rule.text = words.join(" ");
        rule
    }

    /// Nothing when it is no verdict; nothing inside when it is one that is not understood.
    fn verdict(&self, kind: &str, body: &Json) -> Option<Option<Verdict>> {
        let target = || text_of(&body["target"]);
        let port = || body["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        Some(Some(match kind {
            "accept" | "masquerade" | "snat" => Verdict::Accept,
            // A program decides; nothing says that it drops.
            "queue" => Verdict::Accept,
            "drop" | "reject" => Verdict::Drop,
            "return" => Verdict::Return,
            "jump" => Verdict::Jump(target()),
            "goto" => Verdict::Goto(target()),
            "notrack" => Verdict::Untrack,
            "redirect" => Verdict::Redirect { port: port() },
            "dnat" => match (&body["addr"], &body["port"]) {
                (Json::Object(_), _) | (_, Json::Object(_)) => return Some(None),
                (address, _) => Verdict::Dnat { address: text_of(address).parse().ok(), port: port() },
            },
            "vmap" => {
                let (fields, _) = fields(&body["key"]);
                let entries = self.elements(&body["data"]).into_iter().filter_map(|entry| {
                    let (key, verdict) = (entry.get(0)?, entry.get(1)?.as_object()?.iter().next()?);
                    Some((values(key, &fields)?, self.verdict(verdict.0, verdict.1)??))
                });
                Verdict::Map(fields.clone(), entries.collect())
            }
            _ => return None,
        }))
    }

    /// None for a statement that stops nothing.
    fn conditions(&self, kind: &str, body: &Json) -> Vec<Condition> {
        match kind {
            "match" => self.matches(body),
            // One packet is below any limit.
            "limit" => vec![Condition::constant(body["inv"] != true)],
            "counter" | "log" | "mangle" | "comment" | "ct helper" | "ct timeout" | "ct expectation" | "flow"
            | "dup" => Vec::new(),
            // What is put into a set is no condition, unless it is put in with one.
            "set" if body["stmt"].is_null() => Vec::new(),
            "xt" if body["type"] == "target" => Vec::new(),
            _ => vec![Condition::unknown()],
        }
    }

    fn matches(&self, body: &Json) -> Vec<Condition> {
        let (left, right, operator) = (&body["left"], &body["right"], text_of(&body["op"]));
        let (fields, mut conditions) = fields(left);
        let negated = operator == "!=";
        // The address of the sender is on the side that it came from.
        if left["fib"]["result"] == "oif" {
            return vec![Condition::constant((*right == Json::Bool(false)) == negated)];
        }
        if let Some(conditions) = flags(left, right, negated) {
            return conditions;
        }
        let values: Option<Vec<Vec<Value>>> = match operator.as_str() {
            "==" | "!=" | "in" => self.elements(right).iter().map(|element| values(element, &fields)).collect(),
            "<" | "<=" | ">" | ">=" => right.as_u64().and_then(|number| {
                let range = match operator.as_str() {
                    "<" => Value::Range(0, number.checked_sub(1)?),
                    "<=" => Value::Range(0, number),
                    ">" => Value::Range(number + 1, u64::MAX),
                    _ => Value::Range(number, u64::MAX),
                };
                Some(vec![vec![range]])
            }),
            _ => None,
        };
        conditions.push(match values {
            Some(values) => Condition { fields, negated, values },
            None => Condition::unknown(),
        });
        conditions
    }

    /// The elements of a set, be it named, written out, or a single value.
    fn elements(&self, right: &Json) -> Vec<Json> {
        if let Some(name) = right.as_str().and_then(|text| text.strip_prefix('@')) {
            return self.sets.get(&(self.table.to_owned(), name.to_owned())).cloned().unwrap_or_default();
        }
        // Some versions write flags as an operation, and more than two of them as one inside another.
        if let Some(flags) = right["|"].as_array() {
            return flags.iter().flat_map(|flag| self.elements(flag)).collect();
        }
        match (right, &right["set"]) {
            (_, Json::Array(elements)) | (Json::Array(elements), _) => elements.clone(),
            // nft before 1.0 writes a set of one without brackets.
            (_, Json::Null) => vec![right.clone()],
            (_, element) => vec![element.clone()],
        }
    }
}

/// What an expression is about, and what must hold so that it can be looked at.
fn fields(left: &Json) -> (Vec<Field>, Vec<Condition>) {
    if let Some(parts) = left["concat"].as_array() {
        let (fields, conditions): (Vec<_>, Vec<_>) = parts.iter().map(fields).unzip();
        return (fields.concat(), conditions.concat());
    }
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let (protocol, name) = (text(&left["payload"]["protocol"]), text(&left["payload"]["field"]));
    let needs = match protocol.as_str() {
        "tcp" | "udp" => vec![Condition::named(Field::Protocol, &protocol)],
        "ip6" | "icmp" | "icmpv6" | "arp" | "sctp" | "dccp" | "udplite" | "ah" | "esp" | "igmp" => {
            vec![Condition::constant(false)]
        }
        _ => Vec::new(),
    };
    let (meta, ct) = (text(&left["meta"]["key"]), text(&left["ct"]["key"]));
    let original = left["ct"]["dir"] == "original";
    let field = match (protocol.as_str(), name.as_str(), meta.as_str(), ct.as_str()) {
        ("ip", "saddr", ..) => Field::Source,
        ("ip", "daddr", ..) => Field::Destination,
        ("ip", "protocol", ..) | (_, _, "l4proto", _) => Field::Protocol,
        ("tcp" | "udp" | "th", "sport", ..) => Field::SourcePort,
        ("tcp" | "udp" | "th", "dport", ..) => Field::DestinationPort,
        (_, _, "iifname" | "iif", _) => Field::Input,
        (_, _, "oifname" | "oif", _) => Field::Output,
        (_, _, "nfproto" | "protocol", _) => Field::Family,
        (_, _, _, "state") => Field::State,
        (_, _, _, "status") => Field::Status,
        (_, _, _, "direction") => Field::Direction,
        (_, _, _, "proto-dst") if original => Field::OriginalDestinationPort,
        (_, _, _, "ip daddr" | "daddr") if original => Field::OriginalDestination,
        _ if left["fib"]["result"] == "type" && left["fib"]["flags"][0] == "daddr" => Field::DestinationType,
        _ if left["fib"]["result"] == "type" && left["fib"]["flags"][0] == "saddr" => Field::SourceType,
        _ => Field::Unknown,
    };
    (vec![field], needs)
}

/// One element of a set, a value for each field.
fn values(element: &Json, fields: &[Field]) -> Option<Vec<Value>> {
    // Elements with a timeout, counter or comment are wrapped.
    let element = if element["elem"].is_null() { element } else { &element["elem"]["val"] };
    match element["concat"].as_array() {
        Some(parts) if parts.len() == fields.len() => {
            parts.iter().zip(fields).map(|(part, field)| value(part, *field)).collect()
        }
        Some(_) => None,
        None => Some(vec![value(element, *fields.first()?)?]),
    }
}

fn value(json: &Json, field: Field) -> Option<Value> {
    // A field that is not understood has no value that could be wrong.
    if field == Field::Unknown {
        return Some(Value::Name(text_of(json)));
    }
    if json == "*" {
        return Some(Value::any(field));
    }
    let is_address = matches!(field, Field::Source | Field::Destination | Field::OriginalDestination);
    if let (Some(address), Some(length)) = (json["prefix"]["addr"].as_str(), json["prefix"]["len"].as_u64()) {
        return addresses(&format!("{address}/{length}"));
    }
    if let Some([first, last]) = json["range"].as_array().map(Vec::as_slice) {
        return match (first.as_u64(), last.as_u64()) {
            (Some(first), Some(last)) => Some(Value::Range(first, last)),
            _ => addresses(&format!("{}-{}", text_of(first), text_of(last))),
        };
    }
    match json {
        Json::String(text) if is_address => addresses(text),
        Json::String(text) if field == Field::Family && text == "ip" => Some(Value::Name("ipv4".to_owned())),
        Json::String(text) => Some(Value::Name(text.clone())),
        Json::Number(number) if field == Field::Protocol => Some(Value::Name(match number.as_u64()? {
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            other => other.to_string(),
        })),
        Json::Number(number) => Some(Value::number(number.as_u64()?)),
        _ => None,
    }
}

/// What a condition on TCP's flags says of the first packet of a connection, which has `syn` alone.
fn flags(left: &Json, right: &Json, negated: bool) -> Option<Vec<Condition>> {
    let is_flags = |json: &Json| json["payload"]["protocol"] == "tcp" && json["payload"]["field"] == "flags";
    let list = |json: &Json| -> Vec<String> {
        let many = json.as_array().or_else(|| json["|"].as_array());
        many.map_or_else(|| vec![text_of(json)], |many| many.iter().map(text_of).collect())
    };
    let (mask, wanted) = match left["&"].as_array().map(Vec::as_slice) {
        Some([flags, mask]) if is_flags(flags) => (list(mask), list(right)),
        // Without a mask one of the named flags is enough.
        _ if is_flags(left) => (list(right), vec!["syn".to_owned()]),
        _ => return None,
    };
    let seen = mask.iter().any(|flag| flag == "syn");
    let mut condition = Condition::named(Field::Flags, "syn");
    condition.negated = (seen && wanted == ["syn"]) == negated;
    Some(vec![Condition::named(Field::Protocol, "tcp"), condition])
}

/// A statement as nft writes it, as far as that takes no program.
fn shown(kind: &str, body: &Json) -> String {
    let side = |json: &Json| short(json);
    match kind {
        "match" => {
            let operator = body["op"].as_str().filter(|operator| !["==", "in"].contains(operator));
            let words = [Some(side(&body["left"])), operator.map(str::to_owned), Some(side(&body["right"]))];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        "jump" | "goto" => format!("{kind} {}", text_of(&body["target"])),
        "vmap" => format!("{} vmap {}", side(&body["key"]), side(&body["data"])),
        _ => kind.to_owned(),
    }
}

fn short(json: &Json) -> String {
    let joined = |parts: &[Json], between: &str| parts.iter().map(short).collect::<Vec<_>>().join(between);
    match json {
        Json::String(text) => text.clone(),
        Json::Array(parts) => joined(parts, ","),
        Json::Object(map) => match map.iter().next() {
            Some((kind, body)) if kind == "meta" => text_of(&body["key"]),
            Some((kind, body)) if kind == "ct" => format!("ct {}", text_of(&body["key"])),
            Some((kind, body)) if kind == "payload" => {
                format!("{} {}", text_of(&body["protocol"]), text_of(&body["field"]))
            }
            Some((kind, body)) if kind == "prefix" => format!("{}/{}", text_of(&body["addr"]), body["len"]),
            Some((kind, Json::Array(parts))) if kind == "range" => joined(parts, "-"),
            Some((kind, Json::Array(parts))) if kind == "set" => format!("{{ {} }}", joined(parts, ", ")),
            Some((kind, Json::Array(parts))) if kind == "concat" => joined(parts, " . "),
            Some((kind, Json::Array(parts))) => joined(parts, &format!(" {kind} ")),
            Some((kind, body)) => format!("{kind} {}", text_of(body)),
            None => String::new(),
        },
        other => other.to_string(),
    }
}
