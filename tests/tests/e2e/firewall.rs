//! The evaluator of doctor's row `firewall`, held to what the kernel does: the same packets are judged on paper and sent.
//!
//! Everything is in three network namespaces of the test's own: a client, a host, and a box behind it that stands for a container.

mod namespaces;

use std::net::Ipv4Addr;

use xtask::doctor::firewall::packet::{Fate, Machine, Packet, send};
use xtask::doctor::firewall::rules::{Hook, Ruleset};
use xtask::doctor::firewall::{Wanted, judge, read};
use xtask::doctor::{Row, State};
use xtask::host::{LanAddress, Route};
use xtask::ports::Protocol::{self, Tcp, Udp};
use xtask::settings::Subnet;

use namespaces::{BOX, CLIENT, HOST, Namespaces, PORTS};

struct Case {
    name: &'static str,
    /// Whether it is for `iptables-restore`, or for `nft -f`.
    iptables: bool,
    rules: &'static str,
    /// What gets through, written by hand, so that evaluator and kernel cannot both be asked wrongly.
    through: &'static [(u16, Protocol)],
}

const LOCAL: &[(u16, Protocol)] = &[(3478, Udp), (3478, Tcp), (49160, Udp), (8066, Tcp), (8065, Tcp), (8444, Udp)];

const CASES: &[Case] = &[
    Case { name: "no rules", iptables: false, rules: "", through: LOCAL },
    Case {
        name: "a set, a map of verdicts and an interface by wildcard",
        iptables: false,
        rules: "table inet t {
            set open { type inet_service; flags interval; elements = { 22, 49000-50000 }
            }
            chain in { type filter hook input priority 0; policy drop;
                ct state vmap { established : accept, related : accept, invalid : drop }
                iifname \"la*\" udp dport @open accept
                iifname \"other*\" accept
                tcp dport vmap { 8066 : drop, 8000-8065 : accept }
            }
        }",
        through: &[(49160, Udp), (8065, Tcp)],
    },
    Case {
        name: "an accept ends one chain, a drop ends all",
        iptables: false,
        rules: "table inet t {
            chain early { type filter hook input priority -10; policy accept; tcp dport 3478 accept; udp dport 3478 drop
            }
            chain late { type filter hook input priority 10; policy accept; tcp dport 3478 drop; udp dport 3478 accept
            }
        }",
        through: &[(49160, Udp), (8066, Tcp), (8065, Tcp), (8444, Udp)],
    },
    Case {
        name: "jump, return and goto",
        iptables: false,
        rules: "table inet t {
            chain inner { udp dport 3478 return; tcp dport 3478 accept; meta l4proto tcp goto last
            }
            chain last { tcp dport 8066 drop
            }
            chain in { type filter hook input priority 0; policy accept; ip saddr 192.168.77.0/24 jump inner; udp dport 3478 drop; tcp dport 8065 drop
            }
        }",
        // A goto comes back to where the jump was, not behind itself.
        through: &[(3478, Tcp), (49160, Udp), (8444, Udp)],
    },
    Case {
        name: "addresses, flags, limits and concatenations",
        iptables: false,
        rules: "table inet t {
            chain in { type filter hook input priority 0; policy drop;
                ct state established accept
                tcp flags & (fin|syn|rst|ack) != syn ct state new drop
                ip saddr != { 192.168.77.2, 10.0.0.0/8 } accept
                ip saddr . tcp dport { 192.168.77.0/24 . 8066, 10.0.0.1 . 3478 } accept
                udp dport 3478 limit rate 100/second accept
                tcp dport > 8064 tcp dport < 8066 tcp flags & (fin|syn|rst|ack) == syn accept
                meta nfproto ipv6 accept
                ip6 saddr ::/0 accept
            }
        }",
        through: &[(8066, Tcp), (3478, Udp), (8065, Tcp)],
    },
    Case {
        name: "before routing, and at the interface",
        iptables: false,
        rules: "table ip t {
            chain raw { type filter hook prerouting priority -300; policy accept; udp dport 49160 drop
            }
        }
        table netdev n {
            chain in { type filter hook ingress device \"lan\" priority 0; policy accept; tcp dport 8066 drop
            }
        }",
        through: &[(3478, Udp), (3478, Tcp), (8065, Tcp), (8444, Udp)],
    },
    Case {
        name: "answers that may not leave",
        iptables: false,
        rules: "table inet t {
            chain out { type filter hook output priority 0; policy drop; ct state established tcp sport 3478 accept; udp sport 49160 accept
            }
        }",
        through: &[(3478, Tcp), (49160, Udp)],
    },
    Case {
        name: "published, and forwarded because of that",
        iptables: false,
        rules: "table ip n {
            chain pre { type nat hook prerouting priority -100; fib daddr type local tcp dport 8065 dnat to 172.31.77.2:8065; fib daddr type local udp dport 8444 dnat to 172.31.77.2
            }
        }
        table inet t {
            chain in { type filter hook input priority 0; policy drop; ct state established accept
            }
            chain onward { type filter hook forward priority 0; policy drop; ct status dnat accept
            }
        }",
        through: &[(8065, Tcp), (8444, Udp)],
    },
    Case {
        name: "published, and no way back",
        iptables: false,
        rules: "table ip n {
            chain pre { type nat hook prerouting priority -100; tcp dport 8065 dnat to 172.31.77.2:8065; udp dport 8444 dnat to 172.31.77.2
            }
        }
        table inet t {
            chain onward { type filter hook forward priority 0; policy drop; oifname \"docks\" tcp dport 8065 accept; meta l4proto udp ct original proto-dst 8444 accept
            }
        }",
        through: &[(3478, Udp), (3478, Tcp), (49160, Udp), (8066, Tcp), (8444, Udp)],
    },
    Case {
        name: "iptables: multiport, states, SYN, a negated source and a redirection",
        iptables: true,
        rules: "*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 8066 -j REDIRECT --to-ports 3478
COMMIT
*filter
:INPUT DROP [0:0]
:mine - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p udp -m multiport --dports 3478,49160:49559 -j mine
-A INPUT ! -s 192.168.77.0/24 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 3478 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
-A INPUT -p tcp -m tcp --dport 8065 ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
-A INPUT -i lan+ -p udp -m udp --dport 8444 -m limit --limit 50/sec -j REJECT
-A mine -p udp -m udp --dport 3478 -m comment --comment \"a -j DROP\" -j RETURN
-A mine -j ACCEPT
COMMIT
",
        through: &[(49160, Udp), (3478, Tcp), (8066, Tcp)],
    },
    Case {
        name: "iptables: as Docker publishes",
        iptables: true,
        rules: DOCKER,
        through: LOCAL,
    },
];

const DOCKER: &str = "*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docks -j RETURN
-A DOCKER ! -i docks -p tcp -m tcp --dport 8065 -j DNAT --to-destination 172.31.77.2:8065
-A DOCKER ! -i docks -p udp -m udp --dport 8444 -j DNAT --to-destination 172.31.77.2:8444
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docks -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docks -j DOCKER
-A FORWARD -i docks ! -o docks -j ACCEPT
-A DOCKER -d 172.31.77.2/32 ! -i docks -o docks -p tcp -m tcp --dport 8065 -j ACCEPT
-A DOCKER -d 172.31.77.2/32 ! -i docks -o docks -p udp -m udp --dport 8444 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
";

#[test]
fn the_firewall_row_foretells_what_packets_meet() {
    let Some(namespaces) = Namespaces::new("the_firewall_row_foretells_what_packets_meet") else { return };
    let mut wrong = Vec::new();
    for case in CASES {
        if !namespaces.load(case.name, case.iptables, case.rules) {
            continue;
        }
        let sent = namespaces.try_all();
        let rules = rules(&namespaces);
        for (port, protocol) in PORTS {
            let really = sent.contains(&(*port, *protocol));
            let foretold = match judged(&rules, *port, *protocol) {
                Fate::Passes(_) => Some(true),
                Fate::Blocked(_) => Some(false),
                // nft 1.0.6 does not say of which interface a chain is, so a doubt is all that there can be.
                Fate::Doubtful(stop) if stop.hook == Hook::Ingress => Some(false),
                Fate::Doubtful(_) => None,
            };
            let meant = case.through.contains(&(*port, *protocol));
            if foretold != Some(really) || meant != really {
                let name = case.name;
                wrong.push(format!("{name}: {port}/{protocol}: meant {meant}, foretold {foretold:?}, really {really}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_commands_that_the_firewall_row_prints_open_what_is_closed() {
    let Some(namespaces) = Namespaces::new("the_commands_that_the_firewall_row_prints_open_what_is_closed") else {
        return;
    };
    let closed = [
        ("a drop in Docker's chain for users", true, DOCKER.replace("-j RETURN\nCOMMIT\n", "-i lan -j DROP\n-A DOCKER-USER -o lan -j DROP\nCOMMIT\n")),
        ("an input chain of iptables", true, DOCKER.replace(":INPUT ACCEPT", ":INPUT DROP")),
        (
            "hand-written nftables in all directions",
            false,
            "table ip n {
                chain pre { type nat hook prerouting priority -100; tcp dport 8065 dnat to 172.31.77.2:8065; udp dport 8444 dnat to 172.31.77.2
                }
            }
            table inet t {
                chain in { type filter hook input priority 0; policy drop;
                }
                chain onward { type filter hook forward priority 0; policy drop;
                }
                chain out { type filter hook output priority 0; policy drop;
                }
            }"
            .to_owned(),
        ),
    ];
    for (name, iptables, text) in closed {
        if !namespaces.load(name, iptables, &text) {
            continue;
        }
        assert!(namespaces.try_all().len() < PORTS.len(), "{name}: something is closed");
        // What is behind a closed door is seen when it is open.
        for _ in 0..3 {
            for row in rows(&namespaces).iter().filter(|row| row.state != State::Ok) {
                let command = row.fix.split('`').nth(1).expect("a fix is a command");
                namespaces.host_runs(&command.replace("sudo ", ""));
            }
        }
        let left = rows(&namespaces);
        assert!(left.iter().all(|row| row.state == State::Ok), "{name}: {left:?}");
        assert_eq!(namespaces.try_all(), PORTS, "{name}: all gets through");
    }
}

fn rules(namespaces: &Namespaces) -> Ruleset {
    let listed = namespaces.has_nft.then(|| namespaces.host_runs("nft --json list ruleset"));
    let saved = namespaces.host_runs("iptables-nft-save");
    read::combine(Some(&saved), None, listed.as_deref()).expect("the rules are readable")
}

fn rows(namespaces: &Namespaces) -> Vec<Row> {
    let subnet = Subnet { first: Ipv4Addr::new(192, 168, 77, 0), prefix: 24 };
    let lan = LanAddress { address: HOST, subnet };
    let one = |(port, protocol): &(u16, Protocol)| Wanted {
        port: *port,
        protocol: *protocol,
        published: [8065, 8444].contains(port),
        phone: *port == 8066,
        lan,
    };
    judge(&read::Reading::Rules(rules(namespaces)), &PORTS.iter().map(one).collect::<Vec<_>>(), &machine())
}

fn judged(rules: &Ruleset, port: u16, protocol: Protocol) -> Fate<'_> {
    send(rules, &machine(), Packet::new(protocol, CLIENT, (HOST, port), "lan"))
}

fn machine() -> Machine {
    let route = |interface: &str, address: Ipv4Addr| {
        let [a, b, c, _] = address.octets();
        let subnet = Subnet { first: Ipv4Addr::new(a, b, c, 0), prefix: 24 };
        Route { interface: interface.to_owned(), subnet }
    };
    Machine { addresses: vec![HOST], routes: vec![route("lan", HOST), route("docks", BOX)] }
}
