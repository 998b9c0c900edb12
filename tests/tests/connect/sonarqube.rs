//! SonarQube, by a double that answers as the recorded 25.1 does.
//!
//! sonarqube-25.1.jsonl has the calls and answers of a real SonarQube 25.1 Community (the application bundle of Maven Central),
//! recorded on 2026-11-22, with the token replaced by zeros. Not recorded: the messages about the limit of webhooks and
//! about site-local addresses, which are its source's, and 403, 404 and 503, where nothing depends on the words.

use std::sync::{Arc, Mutex};

use expect_test::expect;
use serde_json::{Value, json};

use crate::double::{self, Double, Reply, Request, decode, lock, reply};
use crate::fake::{Checkout, stderr, stdout};
use crate::{checkout, connect, set_secret};

const RECORDED: &str = include_str!("sonarqube-25.1.jsonl");

/// The recorded answer to a call, by its path and a piece of its line.
fn recorded(path: &str, piece: &str) -> Reply {
    let line = RECORDED.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).find(|line| {
        line["request"]["path"].as_str().is_some_and(|known| known == path) && line.to_string().contains(piece)
    });
    let line = line.unwrap_or_else(|| panic!("nothing is recorded for {path} with {piece:?}"));
    reply(line["status"].as_u64().expect("a status") as u16, line["body"].as_str().expect("a body"))
}

#[derive(Default)]
struct Server {
    /// Webhooks, each with its project.
    webhooks: Vec<(Option<String>, Value)>,
    secrets: Vec<String>,
    /// Given instead of an answer to a path.
    refusals: Vec<(&'static str, Reply)>,
}

fn start() -> (Arc<Mutex<Server>>, Double) {
    let server = Arc::new(Mutex::new(Server::default()));
    let double = double::http({
        let server = server.clone();
        move |request| answer(&mut lock(&server), request)
    });
    (server, double)
}

fn answer(server: &mut Server, request: &Request) -> Reply {
    if request.header("authorization") != Some("Bearer squ_fakesonartoken0000000007") {
        return recorded("/api/webhooks/list", "wrong");
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if let Some((_, reply)) = server.refusals.iter().find(|(refused, _)| request.path.starts_with(refused)) {
        return reply.clone();
    }
    match (request.method.as_str(), path) {
        ("GET", "/api/webhooks/list") => {
            let project = query.strip_prefix("project=").map(decode);
            let list: Vec<&Value> =
                server.webhooks.iter().filter(|(known, _)| *known == project).map(|(_, hook)| hook).collect();
            reply(200, json!({ "webhooks": list }).to_string())
        }
        // The recorded answer to exactly this call, with a key of its own: two of the same are two webhooks.
        ("POST", "/api/webhooks/create") => {
            let recorded = recorded("/api/webhooks/create", "ea59e18e-99c3-48c6-91b4-1c2e91ebd6b3");
            let mut made: Value = serde_json::from_str(&recorded.body).expect("JSON");
            made["webhook"]["key"] = json!(format!("key-{}", server.webhooks.len()));
            made["webhook"]["url"] = json!(request.field("url"));
            server.webhooks.push((request.field("project"), made["webhook"].clone()));
            server.secrets.extend(request.field("secret"));
            reply(recorded.status, made.to_string())
        }
        ("POST", "/api/webhooks/update") => {
            let key = request.field("webhook");
            let hook = server.webhooks.iter_mut().find(|(_, hook)| hook["key"].as_str() == key.as_deref());
            let Some((_, hook)) = hook else {
                return reply(404, r#"{"errors":[{"msg":"No webhook with key 'x'"}]}"#);
            };
            hook["name"] = json!(request.field("name"));
            hook["url"] = json!(request.field("url"));
            hook["hasSecret"] = json!(true);
            server.secrets.extend(request.field("secret"));
            recorded("/api/webhooks/update", "")
        }
        _ => reply(404, r#"{"errors":[{"msg":"Unknown url"}]}"#),
    }
}

fn at(double: &Double, projects: &str) -> Checkout {
    checkout(&[
        ("http://sonarqube.cicd.local:9000", &double.url()),
        (
            "projects = []\n# Which hooks (below) get gates",
            &format!("projects = {projects}\n# Which hooks (below) get gates"),
        ),
    ])
}

#[test]
fn one_webhook_is_made_and_never_a_second() {
    let (server, double) = start();
    let checkout = at(&double, "[]");
    let plan = connect(&checkout, &["sonarqube", "--plan"]).code(3);
    expect![[r#"
        To do:
          - make the webhook command-center of all projects: http://relay.cicd.local:8090/sonarqube
    "#]]
    .assert_eq(&stdout(&plan));
    assert!(lock(&server).webhooks.is_empty(), "a plan changes nothing");
    double.requests();
    let run = connect(&checkout, &["sonarqube"]).success();
    expect![[r#"
        To do:
          - make the webhook command-center of all projects: http://relay.cicd.local:8090/sonarqube
        done: make the webhook command-center of all projects: http://relay.cicd.local:8090/sonarqube
    "#]]
    .assert_eq(&stdout(&run));
    expect![[r#"
        GET /api/webhooks/list
          authorization: Bearer squ_fakesonartoken0000000007
        POST /api/webhooks/create
          authorization: Bearer squ_fakesonartoken0000000007
          content-type: application/x-www-form-urlencoded
          name=command-center&url=http%3A%2F%2Frelay.cicd.local%3A8090%2Fsonarqube&secret=FakeSonarqubeWebhookSecret0000000000001
    "#]]
    .assert_eq(&double.transcript());
    assert_eq!(stdout(&connect(&checkout, &["sonarqube"]).success()), "Nothing to do.\n");
    let plan = connect(&checkout, &["sonarqube", "--plan", "--json"]).success();
    expect![[r#"
        {
          "failures": [],
          "notices": [],
          "steps": [],
          "tool": "sonarqube"
        }
    "#]]
    .assert_eq(&stdout(&plan));
    assert_eq!(lock(&server).webhooks.len(), 1);
}

#[test]
fn what_was_changed_or_deleted_there_is_mended() {
    let (server, double) = start();
    let checkout = at(&double, "[]");
    connect(&checkout, &["sonarqube"]).success();
    lock(&server).webhooks.clear();
    connect(&checkout, &["sonarqube"]).success();
    assert_eq!(lock(&server).webhooks.len(), 1, "deleted there, made again");
    for (key, value) in [("url", json!("http://elsewhere/x")), ("name", json!("renamed")), ("hasSecret", json!(false))]
    {
        lock(&server).webhooks[0].1[key] = value;
        let run = connect(&checkout, &["sonarqube"]).success();
        assert!(stdout(&run).contains("done: update the webhook"), "{}", stdout(&run));
        assert_eq!(lock(&server).webhooks.len(), 1);
        connect(&checkout, &["sonarqube", "--plan"]).success();
    }
    // Another secret is sent; that cannot be seen there, only remembered here.
    set_secret(&checkout, "SONARQUBE_WEBHOOK_SECRET", Some("AnotherFakeSonarqubeSecret00000000001"));
    connect(&checkout, &["sonarqube", "--plan"]).code(3);
    connect(&checkout, &["sonarqube"]).success();
    assert_eq!(lock(&server).secrets.last().map(String::as_str), Some("AnotherFakeSonarqubeSecret00000000001"));
    connect(&checkout, &["sonarqube", "--plan"]).success();
}

#[test]
fn of_several_of_ours_one_is_kept_and_the_others_are_told() {
    let (server, double) = start();
    let listed = recorded("/api/webhooks/list", "462d91f6");
    let list: Value = serde_json::from_str(&listed.body).expect("JSON");
    let hooks = list["webhooks"].as_array().expect("a list").clone();
    assert_eq!(hooks.len(), 3, "two of ours and one of somebody else");
    lock(&server).webhooks.extend(hooks.into_iter().map(|hook| (None, hook)));
    let checkout = at(&double, "[]");
    let run = connect(&checkout, &["sonarqube"]).success();
    assert!(stdout(&run).contains("has another webhook of ours"), "{}", stdout(&run));
    assert!(stdout(&run).contains("fix: delete it in SonarQube"), "{}", stdout(&run));
    connect(&checkout, &["sonarqube", "--plan"]).success();
    assert_eq!(lock(&server).webhooks.len(), 3, "nothing is deleted and nothing made");
}

#[test]
fn a_delivery_that_failed_is_told_with_its_fix() {
    let (server, double) = start();
    let checkout = at(&double, "[]");
    connect(&checkout, &["sonarqube"]).success();
    for (delivery, finding) in [
        (json!({ "id": "1", "success": false, "durationMs": 3 }), "did not arrive"),
        (json!({ "id": "1", "success": false, "httpStatus": 401 }), "was refused by the relay (401)"),
        (json!({ "id": "1", "success": false, "httpStatus": 502 }), "was answered by 502"),
    ] {
        lock(&server).webhooks[0].1["latestDelivery"] = delivery;
        let plan = connect(&checkout, &["sonarqube", "--plan"]).success();
        assert!(stdout(&plan).contains(&format!("note: the latest delivery of all projects {finding}\n  fix: ")));
    }
}

#[test]
fn each_project_has_its_own_and_one_that_is_not_there_does_not_stop_the_others() {
    let (server, double) = start();
    let missing = reply(404, r#"{"errors":[{"msg":"Project 'gone' not found"}]}"#);
    lock(&server).refusals.push(("/api/webhooks/list?project=gone", missing));
    let checkout = at(&double, r#"["gone", "org:app"]"#);
    let run = connect(&checkout, &["sonarqube"]).code(1);
    assert!(stderr(&run).contains("Project 'gone' not found"), "{}", stderr(&run));
    assert!(stderr(&run).contains("hint: correct sonarqube.projects of stack.toml"), "{}", stderr(&run));
    assert_eq!(lock(&server).webhooks.len(), 1);
    assert_eq!(lock(&server).webhooks[0].0.as_deref(), Some("org:app"));
    assert!(double.transcript().contains("GET /api/webhooks/list?project=org%3Aapp\n"));
    lock(&server).refusals.clear();
    connect(&checkout, &["sonarqube"]).success();
    assert_eq!(lock(&server).webhooks.len(), 2, "a second run finishes what was begun");
}

#[test]
fn every_refusal_has_its_fix() {
    let (server, double) = start();
    let checkout = at(&double, "[]");
    let error = |text: &str| format!(r#"{{"errors":[{{"msg":"{text}"}}]}}"#);
    let cases = [
        (
            "/api/webhooks/list",
            recorded("/api/webhooks/list", "no credentials"),
            "SONAR_ADMIN_TOKEN of env/secrets.env is refused",
        ),
        ("/api/webhooks/list", reply(403, error("Insufficient privileges")), "Administer"),
        ("/api/webhooks/create", recorded("/api/webhooks/create", "loopback"), "switch it off in SonarQube"),
        ("/api/webhooks/create", recorded("/api/webhooks/create", "shorter than 16"), "see SonarQube's log"),
        ("/api/webhooks/create", reply(400, error("Maximum number of global webhooks reached")), "takes 10 webhooks"),
        (
            "/api/webhooks/create",
            reply(
                400,
                error(
                    "Invalid URL: loopback, wildcard, link-local, site-local, multicast, cloud metadata addresses and addresses of the SonarQube server itself are not allowed for webhooks.",
                ),
            ),
            "sonar.validateWebhooks",
        ),
        ("/api/webhooks/list", reply(503, ""), "is starting"),
    ];
    for (path, refusal, hint) in cases {
        lock(&server).refusals = vec![(path, refusal)];
        let run = connect(&checkout, &["sonarqube"]).code(1);
        assert!(stderr(&run).contains("error: SonarQube: "), "{}", stderr(&run));
        assert!(stderr(&run).lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{}", stderr(&run));
    }
    lock(&server).refusals.clear();
    connect(&checkout, &["sonarqube"]).success();
}

#[test]
fn without_a_token_it_says_how_to_make_one() {
    let (_server, double) = start();
    let checkout = at(&double, "[]");
    set_secret(&checkout, "SONAR_ADMIN_TOKEN", None);
    let run = connect(&checkout, &["sonarqube"]).code(1);
    assert!(stderr(&run).contains("env/secrets.env has no SONAR_ADMIN_TOKEN"), "{}", stderr(&run));
    assert!(stderr(&run).contains("hint: make a token of type User"), "{}", stderr(&run));
    assert!(double.requests().is_empty());
}
