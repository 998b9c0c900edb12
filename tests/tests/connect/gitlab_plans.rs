//! The pure part of GitLab: bodies, differences, and whether it may call Mattermost.

use expect_test::expect;
use serde_json::{Value, json};
use xtask::connect::gitlab::{integration, network, oauth, plugin};
use xtask::settings::Settings;

use crate::common;

/// In one order, whichever features serde_json was built with for the workspace.
fn pretty(mut value: Value) -> String {
    value.sort_all_objects();
    format!("{value:#}\n")
}

fn shipped() -> Settings {
    common::settings(&common::shipped())
}

#[test]
fn every_flag_is_sent_and_confidential_ones_are_off() {
    let body = integration::body(&shipped().gitlab, "https://mm/hooks/x");
    expect![[r#"
        {
          "branches_to_be_notified": "all",
          "confidential_issue_channel": "",
          "confidential_issues_events": false,
          "confidential_note_channel": "",
          "confidential_note_events": false,
          "issue_channel": "code-reviews",
          "issues_events": true,
          "merge_request_channel": "code-reviews",
          "merge_requests_events": true,
          "note_channel": "code-reviews",
          "note_events": true,
          "notify_only_broken_pipelines": false,
          "pipeline_channel": "code-reviews",
          "pipeline_events": true,
          "push_channel": "",
          "push_events": false,
          "tag_push_channel": "code-reviews",
          "tag_push_events": true,
          "username": "gitlab",
          "webhook": "https://mm/hooks/x",
          "wiki_page_channel": "",
          "wiki_page_events": false
        }
    "#]]
    .assert_eq(&pretty(body));
}

#[test]
fn gitlabs_way_of_showing_values_is_no_difference() {
    let desired = json!({ "webhook": "x", "push_events": false, "push_channel": "", "note_channel": "a",
                          "notify_only_broken_pipelines": false });
    let actual = json!({ "active": true, "push_events": false,
                         "properties": { "push_channel": null, "note_channel": "a", "notify_only_broken_pipelines": "false" } });
    assert_eq!(integration::drift(&desired, Some(&actual), true), None);
    assert_eq!(integration::drift(&desired, None, true).as_deref(), Some("there is none"));
    let mut off = actual.clone();
    off["active"] = json!(false);
    assert_eq!(integration::drift(&desired, Some(&off), true).as_deref(), Some("it is switched off"));
    // What an older GitLab does not show is left to the hash.
    assert_eq!(integration::drift(&desired, Some(&json!({ "active": true })), true), None);
}

#[test]
fn gitlab_is_let_call_mattermost_and_nothing_else() {
    let settings = shipped();
    let plan = |list: &str| {
        let answer = json!({ "allow_local_requests_from_web_hooks_and_services": false,
                             "outbound_local_requests_allowlist_raw": list });
        network::plan(&settings, Some(&answer)).0
    };
    assert_eq!(plan("").as_deref(), Some("mattermost.cicd.local:8065"));
    assert_eq!(
        plan("a.local, 10.0.0.0/8;b\nc").as_deref(),
        Some("a.local\n10.0.0.0/8\nb\nc\nmattermost.cicd.local:8065")
    );
    for enough in ["mattermost.cicd.local", "x\nmattermost.cicd.local:8065", "172.30.0.0/24", "172.30.0.10"] {
        assert_eq!(plan(enough), None, "{enough}");
    }
    for other in ["mattermost.cicd.local:443", "172.31.0.0/24", "xmattermost.cicd.local"] {
        assert!(plan(other).is_some(), "{other}");
    }
    let all = json!({ "allow_local_requests_from_web_hooks_and_services": true });
    assert_eq!(network::plan(&settings, Some(&all)), (None, None));
    let older = json!({ "outbound_local_requests_whitelist": ["a"] });
    assert_eq!(network::plan(&settings, Some(&older)).0.as_deref(), Some("a\nmattermost.cicd.local:8065"));
    // A list that is not shown must not be replaced.
    let (list, notice) = network::plan(&settings, Some(&json!({})));
    assert_eq!(list, None);
    assert!(notice.is_some());
}

#[test]
fn an_application_of_the_wrong_scopes_is_replaced() {
    let application = |scopes: Value| -> oauth::Application {
        serde_json::from_value(json!({ "id": 7, "application_id": "c", "application_name": "Mattermost command-center",
            "callback_url": oauth::redirect_uri(&shipped()), "confidential": true, "scopes": scopes }))
        .expect("an application")
    };
    let plan = |scopes| oauth::plan(&shipped(), &common::secrets(), Some(&[application(scopes)])).0;
    assert_eq!(plan(json!(["api"])), Some(oauth::Step::Replace { id: 7 }));
    let renew = oauth::Step::Renew { id: 7, application_id: "c".to_owned() };
    assert_eq!(plan(json!(["read_user", "api"])), Some(renew.clone()));
    assert_eq!(plan(Value::Null), Some(renew));
}

#[test]
fn the_plugins_patch_leaves_out_what_nobody_has_yet() {
    expect![[r#"
        {
          "PluginSettings": {
            "PluginStates": {
              "com.github.manland.mattermost-plugin-gitlab": {
                "Enable": true
              }
            },
            "Plugins": {
              "com.github.manland.mattermost-plugin-gitlab": {
                "gitlaburl": "https://gitlab.cicd.local"
              }
            }
          }
        }
    "#]]
    .assert_eq(&pretty(plugin(&shipped(), &common::secrets())));
}
