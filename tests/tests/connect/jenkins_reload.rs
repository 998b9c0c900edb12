//! The reload by JCasC's token, and asking Jenkins whether it took the files.
//!
//! The reload's answers are those of TokenReloadAction and the check's those of JCasC's documentation; nothing is recorded.

use std::sync::{Arc, Mutex};

use expect_test::expect;

use crate::connect;
use crate::double::{self, Double, Reply, Request, lock, reply};
use crate::fake::{stderr, stdout};
use crate::jenkins::{Home, at};
use crate::set_secret;

const RELOAD: &str = "/reload-configuration-as-code/?casc-reload-token=FakeJenkinsReloadToken00000000000000002";
const CREDENTIAL: &str = "/credentials/store/system/domain/_/credential/";

/// The beginning of a path, and what is answered there.
type Refusal = (&'static str, Reply);

/// A Jenkins that answers as it should but for the refusals.
fn start() -> (Arc<Mutex<Vec<Refusal>>>, Double) {
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let double = double::http({
        let refusals = refusals.clone();
        move |request| answer(&lock(&refusals), request)
    });
    (refusals, double)
}

fn answer(refusals: &[Refusal], request: &Request) -> Reply {
    if let Some((_, reply)) = refusals.iter().find(|(path, _)| request.path.starts_with(path)) {
        return reply.clone();
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", RELOAD) => reply(200, ""),
        // A wrong token.
        ("POST", path) if path.starts_with("/reload-configuration-as-code/") => reply(401, "<html>"),
        ("GET", "/login") => reply(200, "<html>"),
        (_, path) if request.header("authorization") != Some("Basic YWRtaW46MTFmYWtlYXBpdG9rZW4=") => {
            reply(if path.starts_with(CREDENTIAL) { 403 } else { 401 }, "<html>")
        }
        ("POST", "/configuration-as-code/check") => reply(200, "[]"),
        ("GET", path) if path.starts_with(CREDENTIAL) => reply(200, r#"{"id":"x"}"#),
        _ => reply(404, "<html>"),
    }
}

#[test]
fn the_token_is_in_the_query_and_jenkins_is_asked() {
    let (_, double) = start();
    let (checkout, home) = (at(&double), Home::new());
    let run = home.apply(&checkout, &[]).success();
    assert!(stdout(&run).contains("Jenkins reloaded without a complaint."), "{}", stdout(&run));
    expect![[r#"
        POST /reload-configuration-as-code/?casc-reload-token=FakeJenkinsReloadToken00000000000000002
        GET /login
    "#]]
    .assert_eq(&double.transcript());
}

#[test]
fn an_administrators_token_lets_it_try_first_and_look_afterwards() {
    let (refusals, double) = start();
    let (checkout, home) = (at(&double), Home::new());
    set_secret(&checkout, "JENKINS_USER", Some("admin"));
    set_secret(&checkout, "JENKINS_API_TOKEN", Some("11fakeapitoken"));
    let invalid = r#"[{"line":8,"message":"Invalid configuration elements for type: mattermostNotifier"}]"#;
    let cases = [
        ("/configuration-as-code/check", reply(200, invalid), "Jenkins would not take our file: line 8: Invalid"),
        ("/configuration-as-code/check", reply(400, invalid), "Jenkins would not take our file: line 8: Invalid"),
        ("/configuration-as-code/check", reply(403, "<html>"), "/configuration-as-code/check was answered by 403"),
    ];
    for (path, refusal, what) in cases {
        *lock(&refusals) = vec![(path, refusal)];
        let text = stderr(&home.apply(&checkout, &[]).code(1));
        assert!(text.contains(what) && text.contains("\nhint: "), "{text}");
        assert!(!home.path("casc_configs").exists(), "nothing is written");
    }
    *lock(&refusals) = vec![(CREDENTIAL, reply(404, "<html>"))];
    let text = stderr(&home.apply(&checkout, &[]).code(1));
    assert!(text.contains("has no credential mattermost-builds: it did not read our file"), "{text}");
    assert!(text.contains("hint: CASC_JENKINS_CONFIG"), "{text}");
    lock(&refusals).clear();
    double.requests();
    let run = home.apply(&checkout, &[]).success();
    assert!(!stdout(&run).contains("only an"), "{}", stdout(&run));
    let calls: Vec<String> = double.requests().iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    let expected = [
        format!("POST {RELOAD}"),
        "GET /login".to_owned(),
        format!("GET {CREDENTIAL}mattermost-builds/api/json"),
        format!("GET {CREDENTIAL}mattermost-alerts/api/json"),
    ];
    assert_eq!(calls, expected, "the files were right already");
    home.apply(&checkout, &["--plan"]).success();
}

#[test]
fn every_refusal_has_its_fix_and_a_second_run_finishes() {
    let (refusals, double) = start();
    let (checkout, home) = (at(&double), Home::new());
    let failed = r#"{"status":"error","message":"Failed to reload configuration: Found conflicting configuration"}"#;
    let redirect =
        Reply { status: 302, headers: vec![("Location", format!("https://other{RELOAD}"))], body: String::new() };
    const PATH: &str = "/reload-configuration-as-code/";
    let cases = [
        (PATH, reply(404, "<html>"), "the reload by token is not enabled"),
        (PATH, reply(401, "<html>"), "Jenkins has another CASC_RELOAD_TOKEN"),
        (PATH, reply(500, failed), "CASC_MERGE_STRATEGY=override"),
        (PATH, reply(200, failed), "CASC_MERGE_STRATEGY=override"),
        (PATH, reply(500, "<html>"), "see Jenkins's log"),
        (PATH, reply(503, "<html>"), "Jenkins is starting"),
        (PATH, redirect, "put the address that Jenkins really has into jenkins.url"),
        ("/login", reply(503, "<html>"), "Jenkins is starting"),
    ];
    for (path, refusal, hint) in cases {
        *lock(&refusals) = vec![(path, refusal)];
        let text = stderr(&home.apply(&checkout, &[]).code(1));
        assert!(text.contains("error: Jenkins: "), "{text}");
        assert!(text.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{hint} is not in {text}");
        assert!(!text.contains("casc-reload-token"), "{text}");
    }
    lock(&refusals).clear();
    let run = home.apply(&checkout, &[]).success();
    assert!(stdout(&run).contains("  - have Jenkins read its JCasC files again"), "{}", stdout(&run));
    home.apply(&checkout, &["--plan"]).success();
    set_secret(&checkout, "JENKINS_RELOAD_TOKEN", Some("AnotherFakeReloadToken"));
    set_secret(&checkout, "JENKINS_ALERTS_HOOK", Some("anotherfakehook00000000001"));
    let text = stderr(&home.apply(&checkout, &[]).code(1));
    assert!(text.contains("was answered by 401"), "{text}");
    set_secret(&checkout, "JENKINS_RELOAD_TOKEN", None);
    let text = stderr(&connect(&checkout, &["jenkins", "--apply", &home.path("").display().to_string()]).code(1));
    assert!(text.contains("hint: run `cargo xtask up` first"), "{text}");
}
