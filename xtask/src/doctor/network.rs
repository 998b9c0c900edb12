//! Addresses, Docker's network, and the ports of this host.

use super::context::Context;
use super::problem::{Row, State, ok, problems};
use crate::drivers::docker::{self, Container, Network};
use crate::host::{self, Host};
use crate::lan::{self, Rendered};
use crate::ports;
use crate::stack::Stack;

problems! {
    ADDRESS_GONE: Fail "addresses.gone",
        "Nobody reaches the command center by the address that they know.",
        "stack.toml names an address that this host does not have any more.",
        "mend lan.addresses in stack.toml, or use \"auto\"; then `cargo xtask up`";
    ADDRESS_CHANGED: Fail "addresses.changed",
        "Clients get \"not secure\" or endless \"Connecting\", and calls end after some seconds.",
        "This host has other addresses than those that the certificate, the allowed origins, Calls and TURN know.",
        "`cargo xtask up`; everybody then uses the new address", Up;
    ADDRESS_NONE: Warn "addresses.none",
        "Only this machine reaches the command center.",
        "No physical network interface has an IPv4 address.",
        "connect a network, or name the address in stack.toml: lan.addresses; then `cargo xtask up`";
    NETWORK_FOREIGN: Fail "network.foreign",
        "`up` refuses to start.",
        "The network of the tools exists, and has another subnet than stack.toml says.",
        "make network.subnet and network.mattermost_address in stack.toml fit it";
    NETWORK_ADDRESS_TAKEN: Fail "network.address-taken",
        "`up` refuses to start.",
        "Another container has the fixed address of Mattermost.",
        "choose a free network.mattermost_address in stack.toml, or move that container";
    NETWORK_OVERLAP: Fail "network.overlap",
        "`up` refuses to start.",
        "A route of this host leads to the range that the network of the tools would take.",
        "choose another private range for network.subnet in stack.toml, such as 172.29.0.0/24";
    NETWORK_UNKNOWN: Fail "network.unknown",
        "`up` fails.",
        "Docker does not say which networks there are.",
        "see what `docker network ls` says";
    PORT_TAKEN: Fail "ports.taken",
        "`up` refuses to start, or a service does not come up.",
        "Another program or container holds a port that stack.toml names.",
        "{fix}";
    PORT_HELD: Warn "ports.held",
        "None, if it is this stack that holds the port.",
        "The port is held, and the engine that could say by whom does not answer.",
        "mend the engine first";
}

pub fn addresses(context: &Context) -> Vec<Row> {
    vec![judge_addresses(context.host(), lan::rendered(&context.stack.root).as_ref())]
}

/// `rendered` are the addresses for which the files were written.
pub fn judge_addresses(host: Result<&Host, &str>, rendered: Option<&Rendered>) -> Row {
    let host = match host {
        Ok(host) => host,
        Err(error) => return ADDRESS_GONE.found(error),
    };
    if let Some(change) = rendered.and_then(|rendered| lan::changes(rendered, host)) {
        return ADDRESS_CHANGED.found(change);
    }
    if let Some(reason) = host.loopback_only() {
        return ADDRESS_NONE.found(reason);
    }
    let addresses = host.lan.iter().map(|lan| lan.address.to_string()).collect::<Vec<_>>().join(", ");
    ok("addresses", format!("{addresses}; calls and TURN advertise the first"))
}

pub fn network(context: &Context) -> Vec<Row> {
    // A dead engine has a row of its own.
    let Ok(Ok(_)) = context.engine() else { return Vec::new() };
    vec![match docker::network(&context.stack.settings.network.name) {
        Ok(existing) => judge_network(&context.stack, existing.as_ref()),
        Err(error) => NETWORK_UNKNOWN.found(format!("{error:#}")),
    }]
}

/// The subnet must not overlap a route that is not this network's own, and the fixed address must be free.
pub fn judge_network(stack: &Stack, existing: Option<&Network>) -> Row {
    const NAME: &str = "network";
    let wanted = &stack.settings.network;
    if let Some(network) = existing {
        if !network.subnets.contains(&wanted.subnet) {
            let subnets = network.subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let finding = format!("{} exists with {subnets}, and network.subnet says {}", wanted.name, wanted.subnet);
            return NETWORK_FOREIGN.found(finding);
        }
        let own = format!("{}-mattermost-", stack.settings.name);
        let address = wanted.mattermost_address.to_string();
        let holder = network.containers.iter().find(|(name, held)| **held == address && !name.starts_with(&own));
        if let Some((name, _)) = holder {
            let finding = format!("network.mattermost_address: {address} on {} is taken by {name}", wanted.name);
            return NETWORK_ADDRESS_TAKEN.found(finding);
        }
        return ok(NAME, format!("{} is there, {}", wanted.name, wanted.subnet));
    }
    let overlapping = host::routes()
        .unwrap_or_default()
        .into_iter()
        .find(|route| route.subnet.prefix > 0 && route.subnet.overlaps(&wanted.subnet));
    match overlapping {
        Some(route) => NETWORK_OVERLAP.found(format!(
            "network.subnet: {} overlaps this host's route to {} by {}",
            wanted.subnet, route.subnet, route.interface
        )),
        None => ok(NAME, format!("{} will be made, {}", wanted.name, wanted.subnet)),
    }
}

pub fn ports(context: &Context) -> Vec<Row> {
    match context.containers() {
        Ok(containers) => judge_ports(&context.stack, containers),
        // Without the engine's answer a held port may well be held by the stack's own container.
        Err(_) => {
            let rows = judge_ports(&context.stack, &[]).into_iter();
            let held = |row: Row| if row.state == State::Ok { row } else { PORT_HELD.found(row.finding) };
            rows.map(held).collect()
        }
    }
}

pub fn judge_ports(stack: &Stack, containers: &[Container]) -> Vec<Row> {
    let taken = ports::taken(&stack.settings, containers);
    if taken.is_empty() {
        let needed = ports::needed(&stack.settings);
        let list = needed.iter().map(|port| format!("{}/{}", port.number, port.protocol)).collect::<Vec<_>>();
        return vec![ok("ports", format!("{} are free or the stack's own", list.join(", ")))];
    }
    let row = |taken: ports::Taken| {
        let finding =
            format!("{}: {}/{} is held by {}", taken.port.key, taken.port.number, taken.port.protocol, taken.holder);
        PORT_TAKEN.found(finding).with("fix", taken.fix)
    };
    taken.into_iter().map(row).collect()
}
