//! The wiring, the connected tools and an existing PostgreSQL: a table of what cannot work, one line each.

use expect_test::{Expect, expect};

use crate::common;

/// Each edit of a text that is right makes one error, hint last.
fn table(text: &str, edits: &[(&str, &str)], expected: Expect) {
    table_with(text, "", edits, expected);
}

/// The same for the text and an entry at its end. What is in the entry is edited there.
fn table_with(text: &str, entry: &str, edits: &[(&str, &str)], expected: Expect) {
    common::settings(&format!("{text}{entry}"));
    let mut rows = String::new();
    for (old, new) in edits {
        let wrong = if entry.contains(old) {
            format!("{text}{}", entry.replacen(old, new, 1))
        } else {
            assert!(text.contains(old), "there is no {old:?}");
            format!("{}{entry}", text.replacen(old, new, 1))
        };
        match xtask::settings::parse(&wrong, "stack.toml") {
            Ok(_) => rows.push_str(&format!("TAKEN FOR A GOOD ONE: {new}\n")),
            Err(error) => rows.push_str(&format!("{error}; hint: {}\n", error.hint)),
        }
    }
    expected.assert_eq(&rows);
}

#[test]
fn teams_and_channels() {
    let long = format!("purpose = \"{}\"", "x".repeat(201));
    let header = format!("header = \"{}\"", "x".repeat(1025));
    table(
        &common::shipped(),
        &[
            ("name = \"engineering\"", "name = \"Engineering\""),
            ("name = \"engineering\"", "name = \"e\""),
            ("display_name = \"Engineering\"", "display_name = \" \""),
            ("name = \"code-reviews\"", "name = \"builds\""),
            ("name = \"builds\"", "name = \"Builds\""),
            ("display_name = \"Builds\"", "display_name = \"one\\ntwo\""),
            ("purpose = \"Results of builds\"", &long),
            ("header = \"\"", &header),
            ("people = [] }", "people = [\"eve\"] }"),
            ("user_access_tokens = true", "user_access_tokens = false"),
        ],
        expect![[r#"
            stack.toml:182: teams.0.name: "Engineering" is no team name, or is there twice; hint: use lower-case letters, digits and dashes, each name once
            stack.toml:182: teams.0.name: "e" is no team name, or is there twice; hint: use lower-case letters, digits and dashes, each name once
            stack.toml:183: teams.0.display_name: " " is no name that people can read; hint: use 1 to 64 characters on one line
            stack.toml:188: teams.0.channels.1.name: "builds" in "engineering" is no channel name, or is there twice; hint: use lower-case letters, digits and dashes, each name once
            stack.toml:187: teams.0.channels.0.name: "Builds" in "engineering" is no channel name, or is there twice; hint: use lower-case letters, digits and dashes, each name once
            stack.toml:187: teams.0.channels.0.display_name: "one\ntwo" is no name that people can read; hint: use 1 to 64 characters on one line
            stack.toml:187: teams.0.channels.0.purpose: that of engineering:builds has 201 characters; hint: use 200 at most
            stack.toml:187: teams.0.channels.0.header: that of engineering:builds has 1025 characters; hint: use 1024 at most
            stack.toml:187: teams.0.channels.0.people: "eve" is in engineering:builds but not in engineering; hint: add "eve" to the people of "engineering" too
            stack.toml:78: mattermost.user_access_tokens: the wiring reads and sets members with a token of the administrator; hint: leave it true, or remove the teams
        "#]],
    );
}

#[test]
fn bots_and_incoming_webhooks() {
    let long = format!("description = \"{}\"", "x".repeat(201));
    table(
        &common::shipped(),
        &[
            ("name = \"jenkins-bot\"", "name = \"admin\""),
            ("name = \"gitlab-bot\"", "name = \"jenkins-bot\""),
            ("name = \"jenkins-bot\"", "name = \"1bot\""),
            ("display_name = \"Jenkins\"", "display_name = \"\""),
            ("description = \"Tells the results of builds\"", &long),
            ("bot_accounts = true", "bot_accounts = false"),
            ("display_name = \"Jenkins builds\"", "display_name = \"\""),
            ("channel = \"engineering:builds\"", "channel = \"builds\""),
            ("channel = \"engineering:alerts\"", "channel = \"engineering:alarms\""),
            ("bot = \"jenkins-bot\"", "bot = \"hudson-bot\""),
            ("display_name = \"SonarQube passed\"", "display_name = \"Jenkins builds\""),
            ("secret = \"JENKINS_BUILDS_HOOK\"", "secret = \"builds\""),
            ("secret = \"JENKINS_BUILDS_HOOK\"", "secret = \"TURN_SECRET\""),
            ("secret = \"JENKINS_ALERTS_HOOK\"", "secret = \"JENKINS_BUILDS_HOOK\""),
            ("token = \"\"", "token = \"GITLAB_API_TOKEN\""),
        ],
        expect![[r#"
            stack.toml:194: bots.0.name: "admin" is no name of a bot, or is taken; hint: use 3 to 22 lower-case letters, digits and dashes, beginning with a letter, each name once
            stack.toml:200: bots.1.name: "jenkins-bot" is no name of a bot, or is taken; hint: use 3 to 22 lower-case letters, digits and dashes, beginning with a letter, each name once
            stack.toml:194: bots.0.name: "1bot" is no name of a bot, or is taken; hint: use 3 to 22 lower-case letters, digits and dashes, beginning with a letter, each name once
            stack.toml:195: bots.0.display_name: "" is no name that people can read; hint: use 1 to 64 characters on one line
            stack.toml:196: bots.0.description: has 201 characters; hint: use 200 at most
            stack.toml:77: mattermost.bot_accounts: there are bots below; hint: leave it true, or remove the bots
            stack.toml:214: incoming_webhooks.0.display_name: "" is no name that people can read; hint: use 1 to 64 characters on one line
            stack.toml:215: incoming_webhooks.0.channel: "builds" is no channel of [[teams]]; hint: use team:channel, such as "engineering:builds"
            stack.toml:222: incoming_webhooks.1.channel: "engineering:alarms" is no channel of [[teams]]; hint: use team:channel, such as "engineering:builds"
            stack.toml:216: incoming_webhooks.0.bot: "hudson-bot" is not in [[bots]]; hint: name one that is
            stack.toml:235: incoming_webhooks.3.display_name: "Jenkins builds" is in engineering:builds twice; hint: hooks of one channel need names of their own
            stack.toml:213: incoming_webhooks.0.secret: "builds" is no free name in secrets.env; hint: use upper-case letters, digits and underscores, such as "JENKINS_BUILDS_HOOK"
            stack.toml:213: incoming_webhooks.0.secret: "TURN_SECRET" is no free name in secrets.env; hint: use upper-case letters, digits and underscores, such as "JENKINS_BUILDS_HOOK"
            stack.toml:220: incoming_webhooks.1.secret: JENKINS_BUILDS_HOOK is the secret of incoming_webhooks.0.secret already; hint: give each a secret of its own
            stack.toml:197: bots.0.token: "GITLAB_API_TOKEN" is no free name in secrets.env; hint: use upper-case letters, digits and underscores, such as "JENKINS_BUILDS_HOOK"
        "#]],
    );
}

#[test]
fn outgoing_webhooks() {
    let entry = r#"
[[outgoing_webhooks]]
secret = "DEPLOY_HOOK_TOKEN"
display_name = "Deployments"
team = "engineering"
channel = "builds"
bot = "jenkins-bot"
trigger_words = []
urls = ["https://jenkins.cicd.local:8443/invoke"]
content_type = "application/json"
"#;
    table_with(
        &common::shipped(),
        entry,
        &[
            ("team = \"engineering\"", "team = \"marketing\""),
            ("channel = \"builds\"", "channel = \"engineering:builds\""),
            ("channel = \"builds\"", "channel = \"\""),
            ("bot = \"jenkins-bot\"\ntrigger", "bot = \"hudson-bot\"\ntrigger"),
            ("content_type = \"application/json\"", "content_type = \"text/plain\""),
            ("urls = [\"https://jenkins.cicd.local:8443/invoke\"]", "urls = []"),
            ("https://jenkins.cicd.local:8443/invoke", "ftp://jenkins.cicd.local"),
            ("https://jenkins.cicd.local:8443/invoke", "https://user:password@jenkins.cicd.local"),
            ("display_name = \"Deployments\"", "display_name = \"\""),
            ("secret = \"DEPLOY_HOOK_TOKEN\"", "secret = \"GITLAB_HOOK\""),
        ],
        expect![[r#"
            stack.toml:290: outgoing_webhooks.0.team: "marketing" is not in [[teams]]; hint: name one that is
            stack.toml:291: outgoing_webhooks.0.channel: "engineering:builds" is no channel of engineering; hint: use the name of one, without its team, or "" for all
            stack.toml:293: outgoing_webhooks.0.trigger_words: nothing would trigger it; hint: name the words that trigger it, or one channel of which every message does
            stack.toml:292: outgoing_webhooks.0.bot: "hudson-bot" is not in [[bots]]; hint: name one that is
            stack.toml:295: outgoing_webhooks.0.content_type: Mattermost posts no "text/plain"; hint: use "application/json" or "application/x-www-form-urlencoded"
            stack.toml:294: outgoing_webhooks.0.urls: is empty; hint: name at least one URL
            stack.toml:294: outgoing_webhooks.0.urls: "ftp://jenkins.cicd.local" is no URL; hint: use http:// or https://, a host name or address, and no user or password in it
            stack.toml:294: outgoing_webhooks.0.urls: "https://user:password@jenkins.cicd.local" is no URL; hint: use http:// or https://, a host name or address, and no user or password in it
            stack.toml:289: outgoing_webhooks.0.display_name: "" is no name that people can read; hint: use 1 to 64 characters on one line
            stack.toml:288: outgoing_webhooks.0.secret: GITLAB_HOOK is the secret of incoming_webhooks.2.secret already; hint: give each a secret of its own
        "#]],
    );
}

#[test]
fn slash_commands() {
    let command = r#"
[[slash_commands]]
secret = "BUILD_COMMAND_TOKEN"
team = "engineering"
trigger = "build"
display_name = "Build"
description = "Starts a build"
url = "https://jenkins.cicd.local:8443/invoke"
post = true
username = "jenkins"
autocomplete = true
autocomplete_hint = "[job]"
"#;
    let other = command.replace("BUILD_COMMAND_TOKEN", "DEPLOY_COMMAND_TOKEN").replace("\"build\"", "\"deploy\"");
    table_with(
        &common::shipped(),
        &format!("{command}{other}"),
        &[
            ("team = \"engineering\"\ntrigger", "team = \"marketing\"\ntrigger"),
            ("trigger = \"build\"", "trigger = \"/build\""),
            ("trigger = \"deploy\"", "trigger = \"build\""),
            ("url = \"https://jenkins.cicd.local:8443/invoke\"", "url = \"jenkins.cicd.local\""),
            ("display_name = \"Build\"", "display_name = \"\""),
            ("secret = \"DEPLOY_COMMAND_TOKEN\"", "secret = \"BUILD_COMMAND_TOKEN\""),
        ],
        expect![[r#"
            stack.toml:289: slash_commands.0.team: "marketing" is not in [[teams]]; hint: name one that is
            stack.toml:290: slash_commands.0.trigger: "/build" is no word after a slash, or is there twice; hint: use lower-case letters, digits and dashes, each name once
            stack.toml:302: slash_commands.1.trigger: "build" is no word after a slash, or is there twice; hint: use lower-case letters, digits and dashes, each name once
            stack.toml:293: slash_commands.0.url: "jenkins.cicd.local" is no URL; hint: use http:// or https://, a host name or address, and no user or password in it
            stack.toml:291: slash_commands.0.display_name: "" is no name that people can read; hint: use 1 to 64 characters on one line
            stack.toml:300: slash_commands.1.secret: BUILD_COMMAND_TOKEN is the secret of slash_commands.0.secret already; hint: give each a secret of its own
        "#]],
    );
}

#[test]
fn plugins_and_configuration() {
    let sum = "ab".repeat(32);
    let entry = format!(
        r#"
[[plugins]]
id = "jenkins"
enabled = true
bundle = "bundles/jenkins.tar.gz"
sha256 = "{sum}"
version = "1.1.0"
settings = {{ jenkinsurl = "https://jenkins.cicd.local:8443" }}
[[plugins]]
id = "com.mattermost.calls"
enabled = true
settings = {{ maxcallparticipants = 8 }}
"#
    );
    let setting = "\"TeamSettings.EnableJoinLeaveMessageByDefault\" = false";
    table_with(
        &common::shipped(),
        &entry,
        &[
            ("id = \"jenkins\"", "id = \"jenkins plugin\""),
            ("id = \"jenkins\"", "id = \"com.mattermost.calls\""),
            (&format!("sha256 = \"{sum}\""), "sha256 = \"\""),
            ("version = \"1.1.0\"", "version = \"\""),
            ("{ jenkinsurl", "{ JenkinsURL"),
            ("{ maxcallparticipants = 8 }", "{ udpserverport = 8443 }"),
            (setting, "\"EnableJoinLeaveMessageByDefault\" = false"),
            (setting, "\"PluginSettings.Plugins\" = \"\""),
            (setting, "\"TeamSettings.SiteName\" = \"x\""),
            (setting, "\"TeamSettings.MaxChannelsPerTeam\" = 1.5"),
        ],
        expect![[r#"
            stack.toml:288: plugins.0.id: "jenkins plugin" is no id of a plugin, or is there twice; hint: use the id in the plugin's plugin.json
            stack.toml:295: plugins.1.id: "com.mattermost.calls" is no id of a plugin, or is there twice; hint: use the id in the plugin's plugin.json
            stack.toml:291: plugins.0.sha256: a bundle needs its SHA-256, 64 hexadecimal digits; hint: `sha256sum FILE` prints it; compare it with the publisher's
            stack.toml:292: plugins.0.version: a bundle needs its version; hint: use the one in the bundle's plugin.json
            stack.toml:293: plugins.0.settings.JenkinsURL: "JenkinsURL" is no setting; hint: Mattermost keeps the settings of plugins in lower case
            stack.toml:297: plugins.1.settings.udpserverport: env/mattermost.env sets MM_CALLS_UDP_SERVER_PORT, which overrides it; hint: remove it here
            stack.toml:285: configuration.EnableJoinLeaveMessageByDefault: "EnableJoinLeaveMessageByDefault" is no setting of Mattermost; hint: use "Section.Key" as the System Console's documentation does, such as "TeamSettings.MaxChannelsPerTeam"
            stack.toml:285: configuration.PluginSettings.Plugins: it would replace the settings of every plugin; hint: use [[plugins]]
            stack.toml:285: configuration.TeamSettings.SiteName: env/mattermost.env sets MM_TEAMSETTINGS_SITENAME, which overrides it; hint: set it by its own key in stack.toml
            stack.toml:285: configuration.TeamSettings.MaxChannelsPerTeam: is neither a text, a number, a truth value nor a list; hint: use one of these
        "#]],
    );
}

#[test]
fn an_existing_postgresql() {
    let text = common::shipped_with(&[
        ("external = \"\"", "external = \"db.cicd.local:5432\""),
        ("ca = \"\"", "ca = \"/etc/ssl/db-ca.pem\""),
    ]);
    table(
        &text,
        &[
            ("external = \"db.cicd.local:5432\"", "external = \"db.cicd.local\""),
            ("external = \"db.cicd.local:5432\"", "external = \"postgres://db.cicd.local:5432\""),
            ("external = \"db.cicd.local:5432\"", "external = \"db.cicd.local:0\""),
            ("ca = \"/etc/ssl/db-ca.pem\"", "ca = \"\""),
            ("database = \"mattermost\"", "database = \"Mattermost\""),
            ("role = \"mattermost\"", "role = \"the role\""),
        ],
        expect![[r#"
            stack.toml:107: postgres.external: "db.cicd.local" is no host and port; hint: use "host:port", such as "db.cicd.local:5432"; the host as its certificate says
            stack.toml:107: postgres.external: "postgres://db.cicd.local:5432" is no host and port; hint: use "host:port", such as "db.cicd.local:5432"; the host as its certificate says
            stack.toml:107: postgres.external: "db.cicd.local:0" is no host and port; hint: use "host:port", such as "db.cicd.local:5432"; the host as its certificate says
            stack.toml:108: postgres.ca: is empty; hint: name the PEM file of the CA that signed that server's certificate: it is always verified
            stack.toml:109: postgres.database: "Mattermost" is no plain name; hint: use lower-case letters, digits and underscores, beginning with a letter
            stack.toml:110: postgres.role: "the role" is no plain name; hint: use lower-case letters, digits and underscores, beginning with a letter
        "#]],
    );
    table(
        &common::shipped(),
        &[("database = \"mattermost\"", "database = \"chat\""), ("role = \"mattermost\"", "role = \"chat\"")],
        expect![[r#"
            stack.toml:109: postgres.database: the stack's own server has the database and role mattermost; hint: leave it "mattermost", or name the server in postgres.external
            stack.toml:110: postgres.role: the stack's own server has the database and role mattermost; hint: leave it "mattermost", or name the server in postgres.external
        "#]],
    );
}

#[test]
fn the_connected_tools_and_the_relay() {
    table(
        &common::shipped(),
        &[
            ("url = \"https://jenkins.cicd.local:8443\"", "url = \"https://jenkins.cicd.local:8443/\""),
            ("url = \"https://jenkins.cicd.local:8443\"", "url = \"https://cicd.local/jenkins\""),
            ("url = \"https://gitlab.cicd.local\"", "url = \"gitlab.cicd.local\""),
            ("url = \"http://sonarqube.cicd.local:9000\"", "url = \"http://sonarqube.cicd.local:port\""),
            ("builds_hook = \"JENKINS_BUILDS_HOOK\"", "builds_hook = \"BUILDS_HOOK\""),
            ("failed_hook = \"SONARQUBE_FAILED_HOOK\"", "failed_hook = \"\""),
            ("username = \"gitlab\"", "username = \"\""),
            ("branches = \"all\"", "branches = \"main\""),
            ("projects = []\ngroups", "projects = [\"project\"]\ngroups"),
            ("groups = []", "groups = [\"group//project\"]"),
            ("port = 8090", "port = 80"),
            ("queue = 10000", "queue = 1000000"),
            ("push = \"\"", "push = \"pushes\""),
            ("push = \"\"", "push = \"builds\""),
            ("memory = \"64m\"", "memory = \"32m\""),
        ],
        expect![[r#"
            stack.toml:114: jenkins.url: "https://jenkins.cicd.local:8443/" ends with a slash; hint: leave the slash out
            stack.toml:114: jenkins.url: "https://cicd.local/jenkins" has a path, which Mattermost's Jenkins plugin drops; hint: serve Jenkins at the root of a name of its own
            stack.toml:121: gitlab.url: "gitlab.cicd.local" is no URL; hint: use http:// or https://, a host name or address, and no user or password in it
            stack.toml:147: sonarqube.url: "http://sonarqube.cicd.local:port" is no URL; hint: use http:// or https://, a host name or address, and no user or password in it
            stack.toml:116: jenkins.builds_hook: there is no incoming webhook "BUILDS_HOOK"; hint: use the `secret` of one of [[incoming_webhooks]], or "" for none
            stack.toml:152: sonarqube.failed_hook: gates that passed would be told and failed ones not; hint: name the hook that failed gates go to
            stack.toml:124: gitlab.username: has to be 1 to 22 characters long; hint: use "gitlab"
            stack.toml:130: gitlab.branches: GitLab knows no "main"; hint: use one of all, default, protected, default_and_protected
            stack.toml:126: gitlab.projects: "project" is no full path; hint: use the path in its URL, such as "group/project"
            stack.toml:127: gitlab.groups: "group//project" is no full path; hint: use the path in its URL, such as "group/project"
            stack.toml:156: relay.port: 80 is a privileged port; hint: use 1024 or above
            stack.toml:158: relay.queue: 1000000 deliveries are too few or too many; hint: use 10 to 100000
            stack.toml:135: gitlab.events.push: "pushes" is no channel of engineering; hint: use the name of one, without its team
            stack.toml:135: gitlab.events.push: the hook GITLAB_HOOK is locked to code-reviews: Mattermost would refuse builds; hint: use "code-reviews", or set `locked = false` at that hook
            stack.toml:174: limits.relay.memory: 32m is too little to start with; hint: use 64m or more
        "#]],
    );
}
