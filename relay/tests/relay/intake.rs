//! What is taken and what is refused.

use std::time::{Duration, Instant};

use crate::common::{Authority, Client, HookServer, Site, delivery, passed, recorded_deliveries, signature, wait_for};

/// A relay whose Mattermost is away: only the intake matters.
fn alone() -> Site {
    Site::at(crate::common::process::free_address(), &Authority::new())
}

#[test]
fn the_recorded_deliveries_arrive_as_their_goldens() {
    let hooks = HookServer::start();
    let site = Site::new(&hooks);
    let relay = site.start();
    for (body, signature) in recorded_deliveries() {
        let answer = relay.client().post(&body, Some(&signature)).expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (200, "accepted\n"));
    }
    wait_for("both are posted", || hooks.posts().len() == 2);
    let posts = hooks.posts();
    let golden = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    assert_eq!(posts[0], ("6fang4soibnnxppr4qri1torwo".into(), golden(include_str!("../golden/failed.json"))));
    assert_eq!(posts[1], ("ogisa3dr1p8nfqnxx7nsdkdr8y".into(), golden(include_str!("../golden/passed.json"))));
}

#[test]
fn a_delivery_twice_is_one_message_also_after_a_restart() {
    let hooks = HookServer::start();
    let site = Site::new(&hooks);
    let relay = site.start();
    assert_eq!(relay.deliver(&delivery("once")).body, "accepted\n");
    assert_eq!(relay.deliver(&delivery("once")).body, "accepted before\n");
    wait_for("it is posted", || {
        relay.metric("posts_total{outcome=\"posted\"}") == 1 && relay.metric("queue_length") == 0
    });
    assert_eq!(relay.deliver(&delivery("once")).body, "accepted before\n");
    relay.kill();
    let relay = site.start();
    assert_eq!(relay.deliver(&delivery("once")).body, "accepted before\n");
    assert_eq!(relay.deliver(&delivery("another")).body, "accepted\n");
    wait_for("the other is posted", || hooks.posts().len() == 2);
    assert_eq!(relay.metric("deliveries_duplicate_total"), 1);
}

#[test]
fn what_is_no_signed_delivery_is_refused_and_counted() {
    let site = alone();
    let relay = site.start();
    let body = delivery("a");
    let mut wrong = signature(&body).into_bytes();
    wrong[63] ^= 1;
    let wrong = String::from_utf8(wrong).expect("ASCII");
    let post = |body: &[u8], signature: Option<&str>| relay.client().post(body, signature).expect("an answer").status;
    assert_eq!(post(&body, None), 401);
    assert_eq!(post(&body, Some("")), 403);
    assert_eq!(post(&body, Some(&wrong)), 403);
    assert_eq!(post(&body[1..], Some(&signature(&body))), 403);
    assert_eq!(post(b"{", Some(&signature(b"{"))), 400);
    assert_eq!(post(b"{\"text\": \"x\"}", Some(&signature(b"{\"text\": \"x\"}"))), 400);
    let request = |method, path| relay.client().request(method, path).expect("an answer").status;
    assert_eq!(request("GET", "/sonarqube"), 405);
    assert_eq!(request("POST", "/healthz"), 405);
    assert_eq!(request("POST", "/"), 404);
    assert_eq!(request("POST", "/sonarqube/"), 404);
    let expected =
        [("unsigned", 1), ("wrong_signature", 3), ("malformed", 1), ("unexpected", 1), ("method", 2), ("not_found", 2)];
    for (reason, count) in expected {
        assert_eq!(relay.metric(&format!("refused_total{{reason=\"{reason}\"}}")), count, "{reason}");
    }
    assert_eq!(relay.metric("deliveries_accepted_total"), 0);
}

#[test]
fn large_is_taken_and_oversized_is_refused() {
    let site = alone();
    let relay = site.start();
    let mut body = delivery("large");
    body.resize(1024 * 1024, b' ');
    assert_eq!(relay.deliver(&body).status, 200);
    let head = format!("POST /sonarqube HTTP/1.1\r\nHost: x\r\nX-Sonar-Webhook-HMAC-SHA256: {}\r\n", "0".repeat(64));
    let status = |rest: &[u8]| {
        let mut client = relay.client();
        client.send(&[head.as_bytes(), rest].concat()).expect("sent");
        client.answer().map(|it| it.status).expect("an answer")
    };
    assert_eq!(status(b"Content-Length: 1048577\r\n\r\n"), 413);
    let chunk = [b"Transfer-Encoding: chunked\r\n\r\n100001\r\n".as_slice(), &vec![b' '; 1024 * 1024 + 1]].concat();
    assert_eq!(status(&chunk), 413);
    assert_eq!(relay.metric("refused_total{reason=\"too_large\"}"), 2);
    // Headers without end, and too many of them.
    for header in [format!("X: {}\r\n", "x".repeat(40_000)), "X: x\r\n".repeat(100)] {
        let mut client = relay.client();
        client.send(format!("{head}{header}\r\n").as_bytes()).expect("sent");
        assert_eq!(client.answer().expect("an answer").status, 431);
    }
    // It can be read again, whole.
    relay.kill();
    assert_eq!(site.start().metric("queue_length"), 1);
}

#[test]
fn a_full_queue_refuses_what_it_does_not_know() {
    let mut site = alone();
    site.set("queue", "2");
    let relay = site.start();
    assert_eq!(["a", "b", "c", "a"].map(|it| relay.deliver(&delivery(it)).status), [200, 200, 503, 200]);
    assert_eq!(relay.metric("refused_total{reason=\"full\"}"), 1);
    assert_eq!(relay.metric("queue_length"), 2);
}

#[test]
fn an_outcome_without_a_hook_is_ignored() {
    let mut site = alone();
    site.set("passed_hook", "\"\"");
    let relay = site.start();
    assert_eq!(relay.deliver(&passed("fine")).status, 200);
    assert_eq!(relay.deliver(&delivery("bad")).status, 200);
    assert_eq!(relay.metric("posts_total{outcome=\"ignored\"}"), 1);
    assert_eq!(relay.metric("queue_length"), 1);
}

#[test]
fn slow_clients_are_cut_off_while_others_are_served() {
    let site = alone();
    let relay = site.start();
    let start = Instant::now();
    let signed = format!("X-Sonar-Webhook-HMAC-SHA256: {}\r\n", "0".repeat(64));
    let openings = [
        String::new(),
        "POST /sonarqube HTTP/1.1\r\nHost: x\r\n".to_owned(),
        format!("POST /sonarqube HTTP/1.1\r\nHost: x\r\n{signed}Content-Length: 500\r\n\r\n{{"),
    ];
    // More than may be there at a time: those of the second row wait until the first are cut off.
    let mut clients: Vec<Client> = (0..200).map(|_| relay.client()).collect();
    for (client, opening) in clients.iter_mut().zip(openings.iter().cycle()) {
        client.send(opening.as_bytes()).expect("sent");
    }
    let answers: Vec<Option<u16>> =
        clients.iter_mut().take(120).map(|it| it.answer().ok().map(|it| it.status)).collect();
    assert!(start.elapsed() < Duration::from_secs(11), "{:?}", start.elapsed());
    assert!(answers.iter().all(|it| [None, Some(408)].contains(it)), "{answers:?}");
    assert!(answers.contains(&Some(408)));
    assert_eq!(relay.deliver(&delivery("in time")).status, 200);
    assert!(start.elapsed() < Duration::from_secs(11), "{:?}", start.elapsed());
    assert!(relay.metric("refused_total{reason=\"slow\"}") >= 80);
}

#[test]
fn a_kept_connection_is_closed_after_a_while_and_that_is_no_refusal() {
    let site = alone();
    let relay = site.start();
    let mut client = relay.client();
    for name in ["a", "b"] {
        assert_eq!(client.deliver(&delivery(name)).expect("an answer").status, 200);
    }
    client.answer().expect_err("closed");
    assert_eq!(relay.metric("refused_total{reason=\"slow\"}"), 0);
    wait_for("only the one that asks is there", || relay.metric("connections") == 1);
}
