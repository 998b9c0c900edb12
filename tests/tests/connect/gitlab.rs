//! GitLab and Mattermost's plugin for it, end to end: by an HTTP double and by an mmctl that records what it is given.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use expect_test::expect;
use serde_json::{Value, json};

use crate::double::{Double, lock, reply};
use crate::fake::{Checkout, stderr, stdout};
use crate::gitlab_double::{message, start};
use crate::{checkout, connect, secret, set_secret};

const PLUGIN: &str = "com.github.manland.mattermost-plugin-gitlab";
const CALLBACK: &str =
    "https://mattermost.cicd.local:8065/plugins/com.github.manland.mattermost-plugin-gitlab/oauth/complete";

/// A checkout for this double, with a Mattermost that has these settings of plugins.
fn at(double: &Double, projects: &str, plugins: &Value) -> Checkout {
    let checkout = checkout(&[
        ("https://gitlab.cicd.local\"", &format!("{}\"", double.url())),
        ("projects = []\ngroups = []", &format!("projects = {projects}\ngroups = [\"platform\"]")),
    ]);
    mattermost(&checkout, plugins, false);
    checkout
}

/// A docker on PATH whose mmctl answers with these, records its arguments, and keeps what it is given on stdin.
fn mattermost(checkout: &Checkout, plugins: &Value, enabled: bool) {
    let states = json!({ PLUGIN: { "Enable": enabled } });
    fs::write(checkout.path("answers/plugins"), plugins.to_string()).expect("writable");
    fs::write(checkout.path("answers/states"), states.to_string()).expect("writable");
    let folder = checkout.path("answers").display().to_string();
    let calls = checkout.path("calls").display().to_string();
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"docker $*\" >>'{calls}'\ncase \"$*\" in\n\
         *'config get PluginSettings.Plugins') /bin/cat '{folder}/plugins';;\n\
         *'config get PluginSettings.PluginStates') /bin/cat '{folder}/states';;\n\
         *'config patch /dev/stdin') /bin/cat >'{folder}/patch';;\n\
         *'plugin enable '*) ;;\n\
         *) exit 125;;\nesac\n"
    );
    fs::write(checkout.path("bin/docker"), script).expect("writable");
    fs::set_permissions(checkout.path("bin/docker"), fs::Permissions::from_mode(0o755)).expect("writable");
}

/// Lets Mattermost have what it was given.
fn take_patch(checkout: &Checkout) -> Value {
    let patch: Value = serde_json::from_str(&checkout.read("answers/patch")).expect("a patch");
    mattermost(checkout, &patch["PluginSettings"]["Plugins"], true);
    patch
}

#[test]
fn everything_is_set_up_once() {
    let (server, double) = start();
    let checkout = at(&double, r#"["group/sub/app"]"#, &json!({}));
    let plan = connect(&checkout, &["gitlab", "--plan"]).code(3);
    expect![[r#"
        To do:
          - write integrations/gitlab/trusted-certs/command-center-ca.crt
          - let GitLab call mattermost.cicd.local:8065 alone on private addresses (the list of exceptions, as an administrator)
          - set the Mattermost integration of project group/sub/app: there is none
          - set the Mattermost integration of group platform: there is none
          - make the OAuth application; its secret goes into env/secrets.env
          - configure and enable Mattermost's GitLab plugin: gitlaburl, gitlaboauthclientid, gitlaboauthclientsecret, encryptionkey, webhooksecret
    "#]].assert_eq(&stdout(&plan));
    assert!(double.requests().iter().all(|request| request.method == "GET"), "a plan changes nothing");

    let run = connect(&checkout, &["gitlab"]).success();
    expect![[r#"
        To do:
          - write integrations/gitlab/trusted-certs/command-center-ca.crt
          - let GitLab call mattermost.cicd.local:8065 alone on private addresses (the list of exceptions, as an administrator)
          - set the Mattermost integration of project group/sub/app: there is none
          - set the Mattermost integration of group platform: there is none
          - make the OAuth application; its secret goes into env/secrets.env
          - configure and enable Mattermost's GitLab plugin: gitlaburl, gitlaboauthclientid, gitlaboauthclientsecret, encryptionkey, webhooksecret
        done: write integrations/gitlab/trusted-certs/command-center-ca.crt
        done: let GitLab call mattermost.cicd.local:8065 alone on private addresses (the list of exceptions, as an administrator)
        done: set the Mattermost integration of project group/sub/app: there is none
        done: set the Mattermost integration of group platform: there is none
        done: make the OAuth application; its secret goes into env/secrets.env
        done: configure and enable Mattermost's GitLab plugin: gitlaburl, gitlaboauthclientid, gitlaboauthclientsecret, encryptionkey, webhooksecret
        GitLab has to trust Mattermost's CA: copy CHECKOUT/integrations/gitlab/trusted-certs/command-center-ca.crt to /etc/gitlab/trusted-certs/command-center-ca.crt on GitLab's host
        (in Docker below the folder that is mounted at /etc/gitlab, which must be no symbolic link) and run
        `gitlab-ctl reconfigure`. After its container was made anew, delete /etc/gitlab/trusted-certs/*.0 before.
    "#]].assert_eq(&stdout(&run).replace(&checkout.path("").display().to_string(), "CHECKOUT/"));
    expect![[r#"
        GET /api/v4/application/settings
          private-token: glpat-FakeGitlabToken000006
        GET /api/v4/projects/group%2Fsub%2Fapp/integrations/mattermost
          private-token: glpat-FakeGitlabToken000006
        GET /api/v4/groups/platform/integrations/mattermost
          private-token: glpat-FakeGitlabToken000006
        GET /api/v4/applications?page=1&per_page=100
          private-token: glpat-FakeGitlabToken000006
        PUT /api/v4/application/settings
          private-token: glpat-FakeGitlabToken000006
          content-type: application/json
          {"outbound_local_requests_allowlist_raw":"runner.cicd.local\nmattermost.cicd.local:8065"}
        PUT /api/v4/projects/group%2Fsub%2Fapp/integrations/mattermost
          private-token: glpat-FakeGitlabToken000006
          content-type: application/json
          {"branches_to_be_notified":"all","confidential_issue_channel":"","confidential_issues_events":false,"confidential_note_channel":"","confidential_note_events":false,"issue_channel":"code-reviews","issues_events":true,"merge_request_channel":"code-reviews","merge_requests_events":true,"note_channel":"code-reviews","note_events":true,"notify_only_broken_pipelines":false,"pipeline_channel":"code-reviews","pipeline_events":true,"push_channel":"","push_events":false,"tag_push_channel":"code-reviews","tag_push_events":true,"username":"gitlab","webhook":"https://mattermost.cicd.local:8065/hooks/fakegitlabhook000000000005","wiki_page_channel":"","wiki_page_events":false}
        PUT /api/v4/groups/platform/integrations/mattermost
          private-token: glpat-FakeGitlabToken000006
          content-type: application/json
          {"branches_to_be_notified":"all","confidential_issue_channel":"","confidential_issues_events":false,"confidential_note_channel":"","confidential_note_events":false,"issue_channel":"code-reviews","issues_events":true,"merge_request_channel":"code-reviews","merge_requests_events":true,"note_channel":"code-reviews","note_events":true,"notify_only_broken_pipelines":false,"pipeline_channel":"code-reviews","pipeline_events":true,"push_channel":"","push_events":false,"tag_push_channel":"code-reviews","tag_push_events":true,"username":"gitlab","webhook":"https://mattermost.cicd.local:8065/hooks/fakegitlabhook000000000005","wiki_page_channel":"","wiki_page_events":false}
        POST /api/v4/applications
          private-token: glpat-FakeGitlabToken000006
          content-type: application/json
          {"confidential":true,"name":"Mattermost command-center","redirect_uri":"https://mattermost.cicd.local:8065/plugins/com.github.manland.mattermost-plugin-gitlab/oauth/complete","scopes":"api read_user"}
    "#]].assert_eq(&double.transcript());
    assert_eq!(secret(&checkout, "GITLAB_OAUTH_ID").as_deref(), Some("fakeclient1"));
    assert_eq!(secret(&checkout, "GITLAB_OAUTH_SECRET").as_deref(), Some("gloas-fakesecret1"));
    assert_eq!(checkout.read("integrations/gitlab/trusted-certs/command-center-ca.crt"), checkout.read("certs/ca.crt"));

    // The secrets reach Mattermost on stdin, and no argument.
    let patch = take_patch(&checkout);
    let ours = &patch["PluginSettings"]["Plugins"][PLUGIN];
    assert_eq!(ours["gitlaboauthclientsecret"], "gloas-fakesecret1");
    assert_eq!(ours["encryptionkey"].as_str(), secret(&checkout, "GITLAB_PLUGIN_ENCRYPTION_KEY").as_deref());
    assert_eq!(ours["encryptionkey"].as_str().map(str::len), Some(32));
    assert_eq!(ours["webhooksecret"].as_str(), secret(&checkout, "GITLAB_PLUGIN_WEBHOOK_SECRET").as_deref());
    let calls = checkout.calls();
    assert!(!calls.iter().any(|call| call.contains("gloas")), "{calls:?}");
    assert_eq!(
        calls.last().map(String::as_str),
        Some(
            "docker exec command-center-mattermost-1 mmctl --local --json plugin enable com.github.manland.mattermost-plugin-gitlab"
        )
    );

    assert_eq!(stdout(&connect(&checkout, &["gitlab"]).success()), "Nothing to do.\n");
    assert!(double.requests().iter().all(|request| request.method == "GET"));
    assert_eq!(lock(&server).applications.len(), 1);
}

#[test]
fn what_was_changed_or_deleted_there_is_mended() {
    let (server, double) = start();
    let checkout = at(&double, "[]", &json!({}));
    connect(&checkout, &["gitlab"]).success();
    take_patch(&checkout);
    for (key, value) in [
        ("confidential_issues_events", json!(true)),
        ("note_channel", json!("elsewhere")),
        ("notify_only_broken_pipelines", json!(true)),
        ("username", json!("other")),
    ] {
        lock(&server).integrations[0].1[key] = value;
        let run = connect(&checkout, &["gitlab"]).success();
        assert!(stdout(&run).contains(&format!("integration of group platform: differs in {key}")), "{}", stdout(&run));
        connect(&checkout, &["gitlab", "--plan"]).success();
    }
    lock(&server).integrations.clear();
    connect(&checkout, &["gitlab"]).success();
    assert_eq!(lock(&server).integrations.len(), 1, "deleted there, made again");
    // Another hook cannot be seen there, only remembered here.
    set_secret(&checkout, "GITLAB_HOOK", Some("anotherfakehook00000000001"));
    let run = connect(&checkout, &["gitlab"]).success();
    assert!(stdout(&run).contains("its webhook may be another one"), "{}", stdout(&run));
    let webhook = lock(&server).integrations[0].1["webhook"].clone();
    assert_eq!(webhook, "https://mattermost.cicd.local:8065/hooks/anotherfakehook00000000001");
    connect(&checkout, &["gitlab", "--plan"]).success();
}

#[test]
fn without_an_administrators_token_the_rest_goes_on() {
    let (server, double) = start();
    lock(&server).administrator = false;
    let checkout = at(&double, r#"["group/app"]"#, &json!({}));
    let run = connect(&checkout, &["gitlab"]).success();
    let text = stdout(&run);
    assert!(text.contains("note: whether GitLab may call private addresses needs an administrator's token"), "{text}");
    assert!(text.contains("add mattermost.cicd.local:8065 to the local addresses"), "{text}");
    assert!(
        text.contains("note: the OAuth application for Mattermost's GitLab plugin needs an administrator's token"),
        "{text}"
    );
    assert!(text.contains(&format!("redirect URI {CALLBACK}, scopes api read_user")), "{text}");
    assert_eq!(lock(&server).integrations.len(), 2);
    // Made by hand, and the plugin is configured all the same.
    set_secret(&checkout, "GITLAB_OAUTH_ID", Some("byhand"));
    set_secret(&checkout, "GITLAB_OAUTH_SECRET", Some("gloas-byhand00"));
    connect(&checkout, &["gitlab"]).success();
    assert_eq!(take_patch(&checkout)["PluginSettings"]["Plugins"][PLUGIN]["gitlaboauthclientid"], "byhand");
    connect(&checkout, &["gitlab", "--plan"]).success();
}

#[test]
fn an_interrupted_run_or_a_lost_secret_is_finished() {
    let (server, double) = start();
    let checkout = at(&double, "[]", &json!({}));
    connect(&checkout, &["gitlab"]).success();
    // The application was made and its secret did not arrive.
    set_secret(&checkout, "GITLAB_OAUTH_SECRET", None);
    connect(&checkout, &["gitlab"]).success();
    assert_eq!(secret(&checkout, "GITLAB_OAUTH_SECRET").as_deref(), Some("gloas-renewed"));
    assert_eq!(lock(&server).applications.len(), 1, "no second one");
    // A GitLab that cannot renew: delete and make anew.
    lock(&server).renews = false;
    set_secret(&checkout, "GITLAB_OAUTH_SECRET", None);
    double.requests();
    connect(&checkout, &["gitlab"]).success();
    let calls: Vec<String> =
        double.requests().iter().filter(|r| r.method != "GET").map(|r| format!("{} {}", r.method, r.path)).collect();
    let expected =
        ["POST /api/v4/applications/1/renew-secret", "DELETE /api/v4/applications/1", "POST /api/v4/applications"];
    assert_eq!(calls, expected);
    assert_eq!(lock(&server).applications.len(), 1);
    // Deleted there.
    lock(&server).applications.clear();
    connect(&checkout, &["gitlab"]).success();
    assert_eq!(lock(&server).applications.len(), 1);
    // Another address is wanted: an application cannot be changed.
    lock(&server).applications[0]["callback_url"] = json!("https://old/complete");
    connect(&checkout, &["gitlab"]).success();
    let applications = lock(&server).applications.clone();
    assert_eq!(applications.len(), 1);
    assert_eq!(applications[0]["callback_url"], CALLBACK);
}

#[test]
fn ours_is_found_on_the_second_page() {
    let (server, double) = start();
    let other = |id: u64| {
        json!({ "id": id, "application_id": format!("other{id}"), "application_name": "Mattermost command-center",
                "callback_url": "https://other/complete", "confidential": true })
    };
    lock(&server).applications.extend((1000..1100).map(other));
    let checkout = at(&double, "[]", &json!({}));
    let run = connect(&checkout, &["gitlab"]).success();
    take_patch(&checkout);
    let text = stdout(&run);
    assert!(text.contains("note: GitLab has another OAuth application"), "of another Mattermost: not ours to delete");
    assert_eq!(lock(&server).applications.len(), 101);
    connect(&checkout, &["gitlab", "--plan"]).success();
}

#[test]
fn the_keys_that_the_plugin_has_are_kept() {
    let (_server, double) = start();
    let theirs = json!({ PLUGIN: { "encryptionkey": "TheirFakeEncryptionKey0000000001", "webhooksecret": "" },
                         "jenkins": { "jenkinsurl": "x" } });
    let checkout = at(&double, "[]", &theirs);
    connect(&checkout, &["gitlab"]).success();
    let patch = take_patch(&checkout);
    let key = "TheirFakeEncryptionKey0000000001";
    assert_eq!(secret(&checkout, "GITLAB_PLUGIN_ENCRYPTION_KEY").as_deref(), Some(key));
    assert_eq!(patch["PluginSettings"]["Plugins"][PLUGIN]["encryptionkey"], key);
    assert_eq!(
        patch["PluginSettings"]["Plugins"].as_object().map(serde_json::Map::len),
        Some(1),
        "only ours is patched"
    );
    connect(&checkout, &["gitlab", "--plan"]).success();
}

#[test]
fn every_refusal_has_its_fix_and_a_second_run_finishes() {
    let (server, double) = start();
    let checkout = at(&double, r#"["group/app"]"#, &json!({}));
    let project = "/api/v4/projects/";
    let settings = "/api/v4/application/settings";
    let cases = [
        ("GET", settings, message(401, "401 Unauthorized"), "GITLAB_API_TOKEN of env/secrets.env is refused"),
        ("GET", settings, reply(502, "<html>"), "see whether GitLab is up"),
        ("GET", project, message(404, "404 Project Not Found"), "correct gitlab.projects"),
        ("GET", project, message(403, "403 Forbidden"), "has to be Maintainer or Owner"),
        ("PUT", project, message(400, "400 Bad Request"), "GitLab blocks requests to private addresses"),
        (
            "PUT",
            "/api/v4/groups/",
            reply(404, r#"{"error":"404 Not Found"}"#),
            "a GitLab without integrations of groups",
        ),
        ("PUT", settings, message(403, "403 Forbidden"), "needs an administrator's token"),
        ("POST", "/api/v4/applications", message(403, "403 Forbidden"), "needs an administrator's token"),
        ("PUT", project, message(429, "Too many"), "limits the rate"),
    ];
    for (method, path, refusal, hint) in cases {
        lock(&server).refusals = vec![(method, path, refusal)];
        lock(&server).integrations.clear();
        lock(&server).applications.clear();
        lock(&server).settings["outbound_local_requests_allowlist_raw"] = json!("");
        let run = connect(&checkout, &["gitlab"]).code(1);
        let text = stderr(&run);
        assert!(text.contains("error: GitLab: "), "{text}");
        assert!(text.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{hint} is not in {text}");
    }
    lock(&server).refusals.clear();
    connect(&checkout, &["gitlab"]).success();
    take_patch(&checkout);
    connect(&checkout, &["gitlab", "--plan"]).success();
}

#[test]
fn what_is_missing_here_is_named_with_its_fix() {
    let (server, double) = start();
    let checkout = at(&double, "[]", &json!({}));
    // Mattermost is away; GitLab's side is done all the same.
    fs::write(
        checkout.path("bin/docker"),
        "#!/bin/sh\necho 'Error response from daemon: No such container' >&2\nexit 1\n",
    )
    .expect("writable");
    let run = connect(&checkout, &["gitlab"]).code(1);
    assert!(stderr(&run).contains("hint: Mattermost has to run"), "{}", stderr(&run));
    assert_eq!(lock(&server).integrations.len(), 1);
    mattermost(&checkout, &json!({}), false);
    connect(&checkout, &["gitlab"]).success();

    set_secret(&checkout, "GITLAB_HOOK", None);
    let text = stderr(&connect(&checkout, &["gitlab"]).code(1));
    assert!(text.contains("secrets.env has no GITLAB_HOOK"), "{text}");
    assert!(text.contains("hint: run `cargo xtask wire` (or `cargo xtask up`) first"), "{text}");
    set_secret(&checkout, "GITLAB_API_TOKEN", None);
    let text = stderr(&connect(&checkout, &["gitlab"]).code(1));
    assert!(text.contains("hint: make a token with the scope api"), "{text}");
}
