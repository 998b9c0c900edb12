//! Two real browsers call each other through TURN, and through nothing else: what would carry a call besides is dropped.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use command_center_tests::{Browser, Stack, docker};
use serde_json::{Value, json};
use xtask::drivers::turn::{self, Transport};
use xtask::secrets::{self, ADMIN_PASSWORD};

const SCRIPT: Duration = Duration::from_secs(10);
/// A call that works is connected in a second or two.
const CONNECT: Duration = Duration::from_secs(15);
/// For how long a call must not connect.
const NEVER: Duration = Duration::from_secs(5);

#[test]
fn browsers_call_each_other_through_turn_alone() {
    let stack = Stack::new("calls");
    stack.up();
    if stack.lan().is_loopback() {
        eprintln!("SKIPPED: this host has no LAN address, and a container cannot reach its loopback");
        return;
    }
    let networks = ["e2e-calls-anna", "e2e-calls-ben"].map(Network::new);
    without_our_ca_a_browser_refuses_the_site(&stack, &networks[0]);

    let password = secrets::generate(24);
    let account = ["--username", "ben", "--email", "ben@cicd.local", "--password", &password, "--email-verified"];
    let made = stack.mmctl(&[&["--local", "--json", "user", "create"], &account[..]].concat(), None, SCRIPT);
    made.expect("mmctl returns").exits(0);
    let anna = Caller::start(&stack, "admin", &stack.secret(ADMIN_PASSWORD), &networks[0]);
    let ben = Caller::start(&stack, "ben", &password, &networks[1]);
    for caller in [&anna, &ben] {
        assert!(caller.reaches_the_media_port(&stack), "the media port is open until it is blocked");
    }

    for transport in [Transport::Udp, Transport::Tcp] {
        for (caller, other) in [(&anna, &ben), (&ben, &anna)] {
            caller.leave_turn_over(transport, &stack, other.browser.address);
            assert!(!caller.reaches_the_media_port(&stack), "the media port is blocked");
        }
        without_turn_there_is_no_way(&stack, [&anna, &ben]);
        eprintln!("  checked: without TURN there is no call, with {transport} left");
        with_a_wrong_secret_there_is_no_call([&anna, &ben], transport);
        eprintln!("  checked: with a wrong secret there is no call over {transport}");
        a_call_is_relayed(&stack, [&anna, &ben], transport);
        eprintln!("  checked: sound and data both ways through TURN over {transport}");
    }
}

fn without_our_ca_a_browser_refuses_the_site(stack: &Stack, network: &Network) {
    let browser = Browser::start("e2e-calls-stranger", &network.0, None);
    let error = browser.try_open(&page(stack)).expect_err("it does not know our CA").to_string();
    assert!(error.contains("ERR_CERT_AUTHORITY_INVALID"), "{error}");
}

/// Whatever the web client does: a page of the site that every Mattermost has, by the host's address.
fn page(stack: &Stack) -> String {
    format!("https://{}/api/v4/system/ping", stack.address())
}

/// The other end is tried directly, and so is the media port, where Mattermost would listen to both.
fn without_turn_there_is_no_way(stack: &Stack, ends: [&Caller; 2]) {
    let (lan, port) = (stack.lan(), stack.inner().settings.ports.calls);
    let media = [
        json!({ "sdpMid": "0", "candidate": format!("candidate:1 1 udp 2130706431 {lan} {port} typ host") }),
        json!({ "sdpMid": "0", "candidate": format!("candidate:2 1 tcp 1671430143 {lan} {port} typ host tcptype passive") }),
    ];
    let call = connect(ends, [&json!([]), &json!([])], &media, NEVER);
    call.failed();
    for end in &call.ends {
        assert!(!end.found.is_empty() && end.found.iter().all(|it| it.contains(" typ host")), "{end:?}");
    }
    for caller in ends {
        for counter in ["direct", "media_udp", "media_tcp"] {
            assert!(caller.dropped(counter) > 0, "{}: no packet was dropped as {counter}", caller.name);
        }
    }
}

fn with_a_wrong_secret_there_is_no_call(ends: [&Caller; 2], transport: Transport) {
    let servers = ends.map(|caller| {
        let mut servers = caller.servers.clone();
        for server in servers.as_array_mut().expect("a list of servers") {
            let (expiry, user) = server["username"].as_str().and_then(|it| it.split_once(':')).expect("a user name");
            let expiry = expiry.parse().expect("an expiry");
            let wrong = turn::credentials("not-the-secret", user, expiry).expect("any secret makes credentials");
            assert_eq!(server["username"], wrong.username.as_str());
            server["credential"] = wrong.password.into();
        }
        servers
    });
    let call = connect(ends, [&servers[0], &servers[1]], &[], NEVER);
    call.failed();
    for end in &call.ends {
        let refused = end.errors.iter().find(|error| error["code"] == 401).unwrap_or_else(|| panic!("{end:?}"));
        let url = refused["url"].as_str().unwrap_or_default();
        assert!(url.ends_with(&format!("?transport={transport}")), "{url}");
        assert!(end.found.iter().all(|it| !it.contains(" typ relay")), "{end:?}");
    }
}

fn a_call_is_relayed(stack: &Stack, ends: [&Caller; 2], transport: Transport) {
    let call = connect(ends, ends.map(|caller| &caller.servers), &[], CONNECT);
    assert!(call.connected(), "{call:?}");
    for caller in ends {
        caller.page("await say(arguments[0]);", &[secrets::generate(24).into()]);
    }
    let ports = stack.inner().settings.ports;
    for caller in ends {
        let before = caller.page("return measure();", &[]);
        let after = caller.growing(&before);
        for side in ["local", "remote"] {
            let candidate = &after[side];
            assert_eq!(candidate["candidateType"], "relay", "{}: {side} of {after:#}", caller.name);
            assert_eq!(candidate["address"], stack.lan().to_string(), "{candidate}");
            let port = candidate["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
            assert!((ports.turn_relay_first..=ports.turn_relay_last).contains(&port), "{candidate}");
        }
        assert_eq!(after["local"]["relayProtocol"], transport.to_string(), "{after:#}");
    }
}

/// What came of an attempt, as both ends saw it.
#[derive(Debug)]
struct Call {
    ends: [End; 2],
}

#[derive(Debug, Default)]
struct End {
    /// Its candidates.
    found: Vec<String>,
    errors: Vec<Value>,
    connected: bool,
    /// The state of ICE.
    ice: Value,
}

impl Call {
    fn connected(&self) -> bool {
        self.ends.iter().all(|end| end.connected)
    }

    /// Neither end was connected, although both tried.
    #[track_caller]
    fn failed(&self) {
        let tried = |end: &End| ["checking", "disconnected", "failed"].iter().any(|state| end.ice == *state);
        assert!(self.ends.iter().all(|end| !end.connected && tried(end)), "{self:?}");
    }
}

/// Carries an offer, its answer and all candidates until both ends are connected or the time is over. `extra` candidates are
/// told to both.
fn connect(callers: [&Caller; 2], servers: [&Value; 2], extra: &[Value], limit: Duration) -> Call {
    for (caller, servers) in callers.into_iter().zip(servers) {
        caller.page("await begin(arguments[0]);", std::slice::from_ref(servers));
    }
    let [anna, ben] = callers;
    let offer = anna.page("return describe();", &[]);
    let answer = ben.page("return describe(arguments[0]);", &[offer]);
    anna.page("await describe(arguments[0]);", &[answer]);
    let mut call = Call { ends: [End::default(), End::default()] };
    let mut carried = [extra.to_vec(), extra.to_vec()];
    let end = Instant::now() + limit;
    loop {
        // Once more when they are connected: a candidate that was met before it was told has no type of its own yet.
        let over = call.connected() || Instant::now() > end;
        for (index, caller) in callers.into_iter().enumerate() {
            let brought = std::mem::take(&mut carried[index]);
            let mut seen = caller.page("return trickle(arguments[0]);", &[brought.into()]);
            let found = seen["candidates"].as_array_mut().map(std::mem::take).unwrap_or_default();
            let state = &mut call.ends[index];
            state.found.extend(found.iter().map(|it| it["candidate"].as_str().unwrap_or_default().to_owned()));
            state.errors = seen["errors"].as_array().cloned().unwrap_or_default();
            state.connected = seen["connected"] == true;
            state.ice = seen["ice"].take();
            carried[1 - index].extend(found);
        }
        if over {
            return call;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Somebody who is logged in, with a browser on a network of its own.
struct Caller {
    name: String,
    browser: Browser,
    /// What Mattermost told this session to use.
    servers: Value,
}

impl Caller {
    fn start(stack: &Stack, name: &str, password: &str, network: &Network) -> Caller {
        let browser = Browser::start(&network.0, &network.0, Some(&stack.ca()));
        browser.open(&page(stack));
        browser.script(include_str!("calls.js"), &[], SCRIPT);
        let mut answer = browser.script("return logIn(...arguments);", &[name.into(), password.into()], SCRIPT);
        assert_eq!(answer["statuses"], json!([200, 200]), "{name} logs in and gets credentials");
        let servers = answer["servers"].take();
        assert!(servers.to_string().contains(&format!(":{name}\"")), "the credentials are {name}'s");
        Caller { name: name.to_owned(), browser, servers }
    }

    #[track_caller]
    fn page(&self, script: &str, arguments: &[Value]) -> Value {
        self.browser.script(script, arguments, SCRIPT)
    }

    /// By a TCP connection, from the network namespace of the browser.
    fn reaches_the_media_port(&self, stack: &Stack) -> bool {
        let open = format!("exec 3<>/dev/tcp/{}/{}", stack.lan(), stack.inner().settings.ports.calls);
        docker(&["exec", &self.browser.name, "timeout", "1", "bash", "-c", &open]).code == Some(0)
    }

    /// Drops what leaves for the media port, for the other browser, and for TURN by the other transport.
    fn leave_turn_over(&self, transport: Transport, stack: &Stack, other: IpAddr) {
        let (media, turn) = (stack.inner().settings.ports.calls, stack.inner().settings.ports.turn);
        let blocked = match transport {
            Transport::Udp => Transport::Tcp,
            Transport::Tcp => Transport::Udp,
        };
        // Declared before it is deleted, so that there is one to delete.
        let rules = format!(
            "table inet calls\ndelete table inet calls\ntable inet calls {{\n\
             counter direct {{}}\ncounter media_udp {{}}\ncounter media_tcp {{}}\n\
             chain out {{\ntype filter hook output priority filter;\n\
             udp dport {media} counter name media_udp drop\n\
             tcp dport {media} counter name media_tcp drop\n\
             ip daddr {other} counter name direct drop\n\
             {blocked} dport {turn} drop\n}}\n}}\n"
        );
        self.browser.as_root(&["nft", "--file", "-"], &rules).exits(0);
    }

    /// How many packets a counter of the rules has dropped.
    fn dropped(&self, counter: &str) -> u64 {
        let listed = self.browser.as_root(&["nft", "--json", "list", "counter", "inet", "calls", counter], "").exits(0);
        let listed: Value = serde_json::from_str(&listed.stdout).expect("nft prints JSON");
        let objects = listed["nftables"].as_array().into_iter().flatten();
        objects.filter_map(|it| it["counter"]["packets"].as_u64()).sum()
    }

    /// A measurement in which everything has grown since another one.
    fn growing(&self, before: &Value) -> Value {
        let flowing = before["flowing"].as_object().expect("a measurement");
        let end = Instant::now() + CONNECT;
        loop {
            let after = self.page("return measure();", &[]);
            let number = |value: &Value| value.as_f64().unwrap_or(0.0);
            if flowing.iter().all(|(name, value)| number(&after["flowing"][name]) > number(value)) {
                return after;
            }
            assert!(Instant::now() < end, "{}: does not grow: {before:#} {after:#}", self.name);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A Docker network with one browser on it. It is removed on drop.
struct Network(String);

impl Network {
    fn new(name: &str) -> Network {
        // A test that was killed left both.
        docker(&["rm", "--force", name]);
        docker(&["network", "rm", name]);
        docker(&["network", "create", name]).exits(0);
        Network(name.to_owned())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(&["network", "rm", &self.0]);
    }
}
