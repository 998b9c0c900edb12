//! A server that is away, that nobody knows, that is not trusted, or that is another one.

use crate::double::{self, Reply, reply};
use crate::fake::stderr;
use crate::{checkout, connect};

/// Runs against an address and returns what it complains.
fn complaint(url: &str, replacements: &[(&str, &str)]) -> String {
    let mut all = vec![("http://sonarqube.cicd.local:9000", url)];
    all.extend(replacements);
    stderr(&connect(&checkout(&all), &["sonarqube"]).code(1))
}

#[test]
fn a_server_that_is_away_or_unknown_is_named_with_the_setting() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let text = complaint(&format!("http://{free}"), &[]);
    assert!(text.starts_with(&format!("error: SonarQube: GET http://{free}/api/webhooks/list: it is away")), "{text}");
    assert!(text.contains("hint: start SonarQube, or correct sonarqube.url of stack.toml"), "{text}");
    let text = complaint("http://sonarqube.invalid:9000", &[]);
    assert!(text.contains("its name is not known"), "{text}");
    assert!(text.contains("hint: correct sonarqube.url of stack.toml"), "{text}");
}

#[test]
fn a_certificate_has_to_be_trusted() {
    let (double, pem) = double::https(|_| reply(200, r#"{"webhooks":[]}"#));
    let text = complaint(&double.url(), &[]);
    assert!(text.contains("its certificate is not trusted"), "{text}");
    assert!(text.contains("hint: add its CA to certificates.extra_trust of stack.toml"), "{text}");
    assert!(double.requests().is_empty(), "no token goes to a server that is not trusted");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tool-ca.pem");
    std::fs::write(&path, pem).expect("writable");
    let trust = format!("extra_trust = [{:?}]", path.display().to_string());
    let checkout = checkout(&[("http://sonarqube.cicd.local:9000", &double.url()), ("extra_trust = []", &trust)]);
    connect(&checkout, &["sonarqube", "--plan"]).code(3);
    assert_eq!(double.requests().len(), 1);
    std::fs::write(&path, "no PEM").expect("writable");
    let text = stderr(&connect(&checkout, &["sonarqube"]).code(1));
    assert!(text.contains("tool-ca.pem has no certificate"), "{text}");
    assert!(text.contains("hint: correct certificates.extra_trust"), "{text}");
}

#[test]
fn a_redirect_is_not_followed_and_a_page_is_no_answer() {
    let double = double::http(|_| Reply {
        status: 302,
        headers: vec![("Location", "https://login.example/?token=squ_fakesonartoken0000000007".to_owned())],
        body: String::new(),
    });
    let text = complaint(&double.url(), &[]);
    assert!(text.contains("was redirected (302) to https://login.example/"), "{text}");
    assert!(text.contains("hint: put the address that SonarQube really has into sonarqube.url"), "{text}");
    assert_eq!(double.requests().len(), 1);

    let double = double::http(|_| reply(200, "<html>A proxy</html>"));
    let text = complaint(&double.url(), &[]);
    assert!(text.contains("was answered by 200 and no JSON"), "{text}");
    assert!(text.contains("hint: is sonarqube.url of stack.toml the address of SonarQube"), "{text}");
}

#[test]
fn plain_text_where_tls_is_expected_is_said() {
    let double = double::http(|_| reply(200, ""));
    let text = complaint(&double.url().replace("http:", "https:"), &[]);
    assert!(text.contains("no TLS connection"), "{text}");
}
