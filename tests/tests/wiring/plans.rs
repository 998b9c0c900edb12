//! Plans as people read them.

use expect_test::expect;
use serde_json::json;
use xtask::settings::Settings;
use xtask::wiring::plan::Plan;
use xtask::wiring::planner::plan;

use crate::common;
use crate::model::{Model, user};

fn wired() -> (Settings, Model) {
    let settings = common::settings(&common::shipped());
    let mut model = Model::fresh();
    for step in planned(&settings, &model).steps {
        step.actions.iter().for_each(|action| model.perform(action));
    }
    (settings, model)
}

fn planned(settings: &Settings, model: &Model) -> Plan {
    plan(settings, &model.secrets, &model.actual)
}

#[test]
fn from_nothing() {
    let settings = common::settings(&common::shipped());
    let text = planned(&settings, &Model::fresh()).text();
    expect![[r#"
        + team engineering
            display_name: "Engineering"
        + bot jenkins-bot
            display_name: "Jenkins"
            description: "Tells the results of builds"
            owner: "admin"
        + bot gitlab-bot
            display_name: "GitLab"
            description: "Tells of merge requests and pipelines"
            owner: "admin"
        + bot sonarqube-bot
            display_name: "SonarQube"
            description: "Tells of quality gates"
            owner: "admin"
        + members of team engineering
            add: "admin"
            add: "gitlab-bot"
            add: "jenkins-bot"
            add: "sonarqube-bot"
        + channel engineering:builds
            display_name: "Builds"
            private: "false"
            purpose: "Results of builds"
        + channel engineering:code-reviews
            display_name: "Code reviews"
            private: "false"
            purpose: "Merge requests and their discussion"
        + channel engineering:alerts
            display_name: "Alerts"
            private: "false"
            purpose: "What is broken and needs somebody"
        + members of channel engineering:builds
            add: "jenkins-bot"
            add: "sonarqube-bot"
        + members of channel engineering:code-reviews
            add: "gitlab-bot"
        + members of channel engineering:alerts
            add: "jenkins-bot"
            add: "sonarqube-bot"
        + incoming webhook Jenkins builds
            channel: "engineering:builds"
            bot: "jenkins-bot"
            locked: "true"
            id: "in JENKINS_BUILDS_HOOK"
        + incoming webhook Jenkins alerts
            channel: "engineering:alerts"
            bot: "jenkins-bot"
            locked: "true"
            id: "in JENKINS_ALERTS_HOOK"
        + incoming webhook GitLab
            channel: "engineering:code-reviews"
            bot: "gitlab-bot"
            locked: "true"
            id: "in GITLAB_HOOK"
        + incoming webhook SonarQube passed
            channel: "engineering:builds"
            bot: "sonarqube-bot"
            locked: "true"
            id: "in SONARQUBE_PASSED_HOOK"
        + incoming webhook SonarQube failed
            channel: "engineering:alerts"
            bot: "sonarqube-bot"
            locked: "true"
            id: "in SONARQUBE_FAILED_HOOK"
        ~ configuration Mattermost
            TeamSettings.EnableJoinLeaveMessageByDefault: "true" -> "false"
        Plan: 16 to create, 1 to change, 0 to replace.
    "#]]
    .assert_eq(&text);
}

#[test]
fn what_was_broken_by_hand_is_what_the_plan_shows() {
    let (settings, mut model) = wired();
    model.channel("engineering", "builds").display_name = "Renamed".to_owned();
    model.channel("engineering", "alerts").header = "hello".to_owned();
    model.bot("gitlab-bot").description = "mine (managed by command-center)".to_owned();
    let hook = model.actual.incoming.remove(0);
    model.actual.incoming[0].channel_locked = false;
    let bot = model.actual.user("jenkins-bot").expect("the bot").id.clone();
    model.actual.members.remove(&(hook.channel_id, bot));
    model.actual.configuration.insert("TeamSettings.EnableJoinLeaveMessageByDefault".to_owned(), json!(true));
    expect![[r#"
        ~ bot gitlab-bot
            description: "mine (managed by command-center)" -> "Tells of merge requests and pipelines (managed by command-center)"
        ~ channel engineering:builds
            display_name: "Renamed" -> "Builds"
        ~ channel engineering:alerts
            header: "hello" -> ""
        + members of channel engineering:builds
            add: "jenkins-bot"
        + incoming webhook Jenkins builds
            channel: "engineering:builds"
            bot: "jenkins-bot"
            locked: "true"
            id: "in JENKINS_BUILDS_HOOK"
            instead of: "one that was deleted; connect its tool again"
        ~ incoming webhook Jenkins alerts
            locked: "false" -> "true"
        ~ configuration Mattermost
            TeamSettings.EnableJoinLeaveMessageByDefault: "true" -> "false"
        Plan: 2 to create, 5 to change, 0 to replace.
    "#]].assert_eq(&planned(&settings, &model).text());
}

#[test]
fn what_is_archived_is_named_with_its_fix() {
    let (settings, mut model) = wired();
    model.channel("engineering", "builds").delete_at = 1;
    model.bot("jenkins-bot").delete_at = 1;
    let archived = planned(&settings, &model).text();
    model.team("engineering").delete_at = 1;
    let all = planned(&settings, &model).text();
    expect![[r#"
        ! the bot jenkins-bot is disabled
            fix: `docker exec command-center-mattermost-1 mmctl --local bot enable jenkins-bot`, or take it out of stack.toml
        ! the channel engineering:builds is archived
            fix: `docker exec command-center-mattermost-1 mmctl --local channel unarchive engineering:builds`, or take it out of stack.toml
        Nothing is changed while something is marked with `!`.
        ---
        ! the team engineering is archived
            fix: `docker exec command-center-mattermost-1 mmctl --local team restore engineering`, or take it out of stack.toml
        ! the bot jenkins-bot is disabled
            fix: `docker exec command-center-mattermost-1 mmctl --local bot enable jenkins-bot`, or take it out of stack.toml
        Nothing is changed while something is marked with `!`.
    "#]].assert_eq(&format!("{archived}---\n{all}"));
}

#[test]
fn what_left_stack_toml_is_reported() {
    let (mut settings, model) = wired();
    settings.teams[0].channels.remove(1);
    settings.bots.remove(1);
    settings.incoming_webhooks.remove(2);
    expect![[r#"
        ? incoming webhook GitLab in engineering:code-reviews is ours and no longer in stack.toml: `cargo xtask wire --prune` archives it
        ? channel engineering:code-reviews is ours and no longer in stack.toml: `cargo xtask wire --prune` archives it
        ? bot gitlab-bot is ours and no longer in stack.toml: `cargo xtask wire --prune` archives it
        Nothing to change.
    "#]].assert_eq(&planned(&settings, &model).text());
}

#[test]
fn what_people_made_is_used_as_it_is() {
    let (settings, mut model) = wired();
    model.team("engineering").email = "boss@cicd.local".to_owned();
    model.team("engineering").display_name = "Our team".to_owned();
    model.channel("engineering", "builds").purpose = "Ours".to_owned();
    model.actual.users.push(user("id-x", "somebody", "x@cicd.local"));
    expect![[r#"
        note: the team engineering does not carry our mark and stays as it is; it differs in display_name
        note: the channel engineering:builds does not carry our mark and stays as it is; it differs in purpose
        Nothing to change.
    "#]]
    .assert_eq(&planned(&settings, &model).text());
    model.actual.bots.retain(|bot| bot.username != "jenkins-bot");
    for user in &mut model.actual.users {
        user.email = "a@cicd.local".to_owned();
    }
    expect![[r#"
        ! jenkins-bot is the account of somebody, so it cannot be a bot
            fix: give the bot another name in stack.toml
        note: the team engineering does not carry our mark and stays as it is; it differs in display_name
        note: the channel engineering:builds does not carry our mark and stays as it is; it differs in purpose
        Nothing is changed while something is marked with `!`.
    "#]]
    .assert_eq(&planned(&settings, &model).text());
}

#[test]
fn a_plugins_key_is_never_replaced_silently_and_never_shown() {
    let text = common::shipped()
        + "[[plugins]]\nid = \"jenkins\"\nenabled = true\nsettings = { jenkinsurl = \"https://j\", encryptionkey = { secret = \"JENKINS_PLUGIN_KEY\" } }\n";
    let text = text.replace("[configuration]\n\"TeamSettings.EnableJoinLeaveMessageByDefault\" = false\n", "");
    let settings = common::settings(&text);
    let (_, mut model) = wired();
    let key = json!("TheKeyThatThePluginAlreadyHas001");
    model.actual.plugins.settings.insert("jenkins".to_owned(), [("encryptionkey".to_owned(), key)].into());
    let plan = planned(&settings, &model);
    assert!(!format!("{plan:?}{}", plan.json()).contains("TheKeyThat"), "it is a secret");
    expect![[r#"
        ~ plugin jenkins
            encryptionkey: "not in secrets.env" -> "noted as JENKINS_PLUGIN_KEY"
        ~ plugin jenkins
            jenkinsurl: "none" -> "\"https://j\""
            enabled: "false" -> "true"
        Plan: 0 to create, 2 to change, 0 to replace.
    "#]]
    .assert_eq(&plan.text());
}

#[test]
fn what_needs_a_license_is_said() {
    let text =
        common::shipped() + "\"DataRetentionSettings.EnableMessageDeletion\" = true\n\"TeamSettings.NoSuch\" = 1\n";
    let (_, mut model) = wired();
    model.actual.configuration.insert("DataRetentionSettings.EnableMessageDeletion".to_owned(), json!(false));
    expect![[r#"
        ~ configuration Mattermost
            DataRetentionSettings.EnableMessageDeletion: "false" -> "true"
        ! Mattermost has no setting TeamSettings.NoSuch
            fix: spell it as the System Console's documentation does, or remove it from [configuration]
        note: DataRetentionSettings.EnableMessageDeletion needs a license: Mattermost keeps it, and it does nothing without one
        Nothing is changed while something is marked with `!`.
    "#]].assert_eq(&planned(&common::settings(&text), &model).text());
}
