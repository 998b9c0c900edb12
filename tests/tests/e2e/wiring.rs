//! stack.toml is what Mattermost has: wired from nothing, healed after what people did, finished after an interruption.

use std::time::Duration;

use command_center_tests::{Ran, Stack, docker};
use serde_json::{Value, json};
use xtask::drivers::https;
use xtask::secrets::ADMIN_TOKEN;

use crate::{checks, gitlab_double};

#[test]
fn wiring() {
    let stack = Stack::new("wiring");
    stack.up().says("+ team engineering").says("+ incoming webhook Jenkins builds");
    checks::run(
        &stack,
        &[
            ("after `up` there is nothing to wire", nothing_to_wire),
            ("a hook posts as its bot into its channel and nowhere else", a_hook_posts_as_its_bot),
            ("what was broken by hand is what the plan shows, and is healed", broken_and_healed),
            ("a token that was revoked is made again", a_revoked_token_is_made_again),
            ("an id that is not in secrets.env is found again", a_lost_id_is_adopted),
            ("what is archived is named with its fix", an_archived_channel_is_named),
            ("what people made is left alone", what_people_made_is_left_alone),
            ("a run that is killed is finished by the next", a_killed_run_is_finished),
            ("a bundle is installed, and a wrong one is not", a_bundle_is_installed),
            ("what left stack.toml is archived when asked for", what_left_is_pruned),
            ("GitLab gets a hook that works, and Mattermost its plugin", gitlab_is_connected),
        ],
    );
}

fn nothing_to_wire(stack: &Stack) {
    stack.xtask(&["wire", "--plan"]).exits(0).says("Nothing to change.");
    stack.xtask(&["wire"]).exits(0).says("Nothing to change.");
    let bots = list(stack, &["bot", "list", "--all"]);
    let admin = stack.secret("MATTERMOST_ADMIN_ID");
    for name in ["jenkins-bot", "gitlab-bot", "sonarqube-bot"] {
        let bot = bots.iter().find(|bot| bot["username"] == name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(bot["owner_id"], admin.as_str(), "a bot that owns itself hangs the server");
    }
}

fn a_hook_posts_as_its_bot(stack: &Stack) {
    let (id, site) = (stack.secret("JENKINS_BUILDS_HOOK"), stack.site(&stack.lan().to_string()));
    let post = |body: &Value| https::post(&site, &format!("/hooks/{id}"), body).expect("the site answers").status();
    assert_eq!(post(&json!({ "text": "build 7 passed" })), 200);
    assert_eq!(post(&json!({ "text": "x", "channel": "builds" })), 200);
    assert_eq!(post(&json!({ "text": "x", "channel": "alerts" })), 403, "it is locked");
    let bot = user(stack, "jenkins-bot");
    let posts = posts(stack, "builds");
    let post = posts.iter().find(|post| post["message"] == "build 7 passed").expect("the message is there");
    assert_eq!((&post["user_id"], &post["props"]["from_webhook"]), (&json!(bot), &json!("true")));
    assert!(self::posts(stack, "alerts").iter().all(|post| post["message"] != "x"));
}

fn broken_and_healed(stack: &Stack) {
    let (builds, failed) = (stack.secret("JENKINS_BUILDS_HOOK"), stack.secret("SONARQUBE_FAILED_HOOK"));
    for call in [
        &["channel", "rename", "engineering:code-reviews", "--name", "code-reviews", "--display-name", "Broken"][..],
        &["channel", "users", "remove", "engineering:builds", "jenkins-bot"],
        &["webhook", "delete", &builds],
        // It unlocks the hook, whatever else it changes.
        &["webhook", "modify-incoming", &failed, "--display-name", "SonarQube failed"],
        &["config", "set", "TeamSettings.EnableJoinLeaveMessageByDefault", "true"],
        &["bot", "update", "gitlab-bot", "--display-name", "Somebody"],
    ] {
        mmctl(stack, call).exits(0);
    }
    let plan = stack.xtask(&["wire", "--plan", "--json"]).exits(3);
    let plan: Value = serde_json::from_str(&plan.stdout).expect("--json prints JSON");
    let changes: Vec<String> = plan["changes"].as_array().expect("a list").iter().map(change).collect();
    assert_eq!(
        changes,
        [
            "change bot gitlab-bot: display_name",
            "change channel engineering:code-reviews: display_name",
            "create members of channel engineering:builds: add",
            "create incoming webhook Jenkins builds: channel, bot, locked, id, instead of",
            "change incoming webhook SonarQube failed: locked",
            "change configuration Mattermost: TeamSettings.EnableJoinLeaveMessageByDefault",
        ]
    );
    stack.xtask(&["wire"]).exits(0);
    stack.xtask(&["wire", "--plan"]).exits(0);
    assert_ne!(stack.secret("JENKINS_BUILDS_HOOK"), builds, "the hook is a new one");
    assert_eq!(stack.secret("SONARQUBE_FAILED_HOOK"), failed, "the hook is the old one");
}

fn change(change: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fields: Vec<String> = change["fields"].as_array().expect("a list").iter().map(|it| text(&it["name"])).collect();
    format!("{} {} {}: {}", text(&change["operation"]), text(&change["kind"]), text(&change["name"]), fields.join(", "))
}

fn a_revoked_token_is_made_again(stack: &Stack) {
    let token = stack.secret(ADMIN_TOKEN);
    edit_secrets(stack, |text| text.replace(&token, &"a".repeat(26)));
    stack.xtask(&["wire", "--plan"]).exits(0);
    assert_ne!(stack.secret(ADMIN_TOKEN), "a".repeat(26));
}

fn a_lost_id_is_adopted(stack: &Stack) {
    let id = stack.secret("GITLAB_HOOK");
    edit_secrets(stack, |text| {
        text.lines().filter(|line| !line.starts_with("GITLAB_HOOK=")).map(|line| format!("{line}\n")).collect()
    });
    stack.xtask(&["wire", "--plan"]).exits(3).says("noted in secrets.env");
    stack.xtask(&["wire"]).exits(0);
    assert_eq!(stack.secret("GITLAB_HOOK"), id);
    assert_eq!(our_hooks(stack), 5);
}

fn an_archived_channel_is_named(stack: &Stack) {
    mmctl(stack, &["channel", "archive", "engineering:alerts"]).exits(0);
    stack.xtask(&["wire", "--plan"]).exits(1).says("the channel engineering:alerts is archived");
    let fix =
        format!("docker exec {} mmctl --local channel unarchive engineering:alerts", stack.container("mattermost"));
    stack.xtask(&["wire"]).exits(1).says(&fix);
    // The stand-in answers in JSON only.
    let fix = fix.replace("--local", "--local --json");
    docker(&fix.split(' ').skip(1).collect::<Vec<_>>()).exits(0);
    stack.xtask(&["wire"]).exits(0);
}

fn what_people_made_is_left_alone(stack: &Stack) {
    let call = ["channel", "create", "--team", "engineering", "--name", "lunch", "--display-name", "Lunch"];
    mmctl(stack, &call).exits(0);
    let call = ["--channel", "engineering:lunch", "--user", "admin", "--display-name", "Menu"];
    mmctl(stack, &[&["webhook", "create-incoming"], &call[..]].concat()).exits(0);
    stack.xtask(&["wire", "--plan"]).exits(0).does_not_say("lunch");
    stack.xtask(&["wire", "--prune", "--yes"]).exits(0);
    let channels = list(stack, &["channel", "list", "engineering"]);
    assert!(channels.iter().any(|channel| channel["name"] == "lunch" && channel["delete_at"] == 0));
    assert!(list(stack, &["webhook", "list"]).iter().any(|hook| hook["display_name"] == "Menu"));
}

/// A second team with channels of its own, cut off at moments of its wiring.
fn a_killed_run_is_finished(stack: &Stack) {
    let channels: String = (1..=6)
        .map(|index| format!("{{ name = \"c{index}\", display_name = \"C{index}\", private = true, purpose = \"\", header = \"h\", people = [] }}, "))
        .collect();
    let hooks: String = (1..=6)
        .map(|index| format!("[[incoming_webhooks]]\nsecret = \"HOOK_{index}\"\ndisplay_name = \"Hook {index}\"\nchannel = \"operations:c{index}\"\nbot = \"ops-bot\"\nlocked = true\n"))
        .collect();
    let bot = "[[bots]]\nname = \"ops-bot\"\ndisplay_name = \"Ops\"\ndescription = \"x\"\ntoken = \"OPS_TOKEN\"\n";
    let team = format!(
        "[[teams]]\nname = \"operations\"\ndisplay_name = \"Operations\"\npeople = [\"admin\"]\nchannels = [{channels}]\n\n{bot}\n{hooks}\n[configuration]"
    );
    stack.edit("[configuration]", &team);
    for pause in [900, 1300, 1700, 2300] {
        let mut command = stack.command(&["wire"]);
        let mut started = command_center_tests::run::start(&mut command, "");
        if started.wait(Duration::from_millis(pause)).is_some() {
            break;
        }
    }
    stack.xtask(&["wire"]).exits(0);
    stack.xtask(&["wire", "--plan"]).exits(0);
    assert_eq!(our_hooks(stack), 11, "each hook is there once");
    let token = stack.secret("OPS_TOKEN");
    let me = https::get(&stack.site("localhost"), "/api/v4/users/me", Some(&token)).expect("the site answers");
    assert_eq!(https::json(&me).expect("JSON")["username"], "ops-bot");
}

fn a_bundle_is_installed(stack: &Stack) {
    let folder = stack.root.join("plugin/jenkins");
    std::fs::create_dir_all(&folder).expect("target/ can be written");
    let manifest = json!({ "id": "jenkins", "name": "Jenkins", "version": "1.1.0", "min_server_version": "5.12.0" });
    std::fs::write(folder.join("plugin.json"), manifest.to_string()).expect("target/ can be written");
    let bundle = stack.root.join("jenkins-1.1.0.tar.gz");
    let mut tar = std::process::Command::new("tar");
    tar.arg("-czf").arg(&bundle).arg("-C").arg(stack.root.join("plugin")).arg("jenkins");
    assert!(tar.status().expect("there is a tar").success());
    let sum = std::process::Command::new("sha256sum").arg(&bundle).output().expect("there is a sha256sum");
    let sum = String::from_utf8_lossy(&sum.stdout).split(' ').next().unwrap_or_default().to_owned();
    let plugin = format!(
        "[[plugins]]\nid = \"jenkins\"\nenabled = true\nbundle = \"{}\"\nsha256 = \"{}\"\nversion = \"1.1.0\"\nsettings = {{ jenkinsurl = \"https://jenkins.cicd.local\", encryptionkey = {{ secret = \"JENKINS_PLUGIN_KEY\" }} }}\n\n[configuration]",
        bundle.display(),
        "0".repeat(64),
    );
    stack.edit("[configuration]", &plugin);
    let before = stack.ids();
    stack.xtask(&["wire"]).exits(1).says(&sum).says("hint: fetch the bundle again");
    assert_eq!(stack.ids(), before, "nothing was restarted");
    stack.edit(&"0".repeat(64), &sum);
    stack.xtask(&["wire"]).exits(0).says("restarting Mattermost with plugin uploads on");
    stack.xtask(&["wire", "--plan"]).exits(0);
    let environment = docker(&["inspect", "--format", "{{.Config.Env}}", &stack.container("mattermost")]).stdout;
    assert!(environment.contains("MM_PLUGINSETTINGS_ENABLEUPLOADS=false"), "uploads are off again");
    let key = stack.secret("JENKINS_PLUGIN_KEY");
    let settings = list(stack, &["config", "get", "PluginSettings.Plugins"]);
    assert_eq!(settings[0]["jenkins"]["encryptionkey"], key.as_str());
    // A key that Mattermost has and secrets.env lost is not made anew: what it encrypted would be unreadable.
    edit_secrets(stack, |text| {
        text.lines().filter(|line| !line.starts_with("JENKINS_PLUGIN_KEY=")).map(|line| format!("{line}\n")).collect()
    });
    stack.xtask(&["wire"]).exits(0);
    assert_eq!(stack.secret("JENKINS_PLUGIN_KEY"), key);
}

fn what_left_is_pruned(stack: &Stack) {
    let path = stack.root.join("stack.toml");
    let text = std::fs::read_to_string(&path).expect("the stack has a stack.toml");
    let (before, rest) = text.split_once("[[teams]]\nname = \"operations\"").expect("the second team");
    let (_, after) = rest.split_once("\n[[plugins]]").expect("what follows it");
    std::fs::write(&path, format!("{before}[[plugins]]{after}")).expect("target/ can be written");
    stack.xtask(&["wire", "--plan"]).exits(0).says("? team operations is ours and no longer in stack.toml");
    stack.xtask(&["wire", "--prune"]).exits(1).says("hint: add --yes if they may");
    stack.xtask(&["wire", "--prune", "--yes"]).exits(0);
    stack.xtask(&["wire", "--plan"]).exits(0).does_not_say("operations").does_not_say("ops-bot");
    assert_eq!(our_hooks(stack), 5);
    let bots = list(stack, &["bot", "list", "--all"]);
    assert!(bots.iter().any(|bot| bot["username"] == "ops-bot" && bot["delete_at"] != 0), "the bot is disabled");
}

/// GitLab is a double, Mattermost and its hook are not.
fn gitlab_is_connected(stack: &Stack) {
    const PLUGIN: &str = "com.github.manland.mattermost-plugin-gitlab";
    let (_, gitlab) = gitlab_double::start();
    stack.edit("url = \"https://gitlab.cicd.local\"", &format!("url = \"{}\"", gitlab.url()));
    stack.edit("projects = []\ngroups = []", "projects = [\"group/app\"]\ngroups = []");
    edit_secrets(stack, |text| format!("{text}GITLAB_API_TOKEN=glpat-FakeGitlabToken000006\n"));
    stack.xtask(&["connect", "gitlab", "--plan"]).exits(3);
    gitlab.requests();
    stack.xtask(&["connect", "gitlab"]).exits(0);
    let requests = gitlab.requests();
    let integration = requests.iter().find(|it| it.method == "PUT" && it.path.ends_with("/integrations/mattermost"));
    let integration: Value = serde_json::from_str(&integration.expect("the integration was set").body).expect("JSON");
    let (_, id) = integration["webhook"].as_str().and_then(|url| url.rsplit_once('/')).expect("a URL");
    let message = json!({ "text": "merge request !1 opened", "channel": integration["merge_request_channel"], "username": "gitlab" });
    let answer = https::post(&stack.site("localhost"), &format!("/hooks/{id}"), &message).expect("the site answers");
    assert_eq!(answer.status(), 200);
    assert!(posts(stack, "code-reviews").iter().any(|post| post["message"] == "merge request !1 opened"));
    let settings = list(stack, &["config", "get", "PluginSettings.Plugins"]);
    assert_eq!(settings[0][PLUGIN]["gitlaboauthclientid"], stack.secret("GITLAB_OAUTH_ID").as_str());
    assert_eq!(settings[0][PLUGIN]["encryptionkey"].as_str().map(str::len), Some(32));
    let states = list(stack, &["config", "get", "PluginSettings.PluginStates"]);
    assert_eq!(states[0][PLUGIN]["Enable"], true);
    stack.xtask(&["connect", "gitlab", "--plan"]).exits(0);
}

fn mmctl(stack: &Stack, arguments: &[&str]) -> Ran {
    let arguments = [&["--local", "--json"], arguments].concat();
    stack.mmctl(&arguments, None, Duration::from_secs(30)).expect("mmctl returns")
}

fn list(stack: &Stack, arguments: &[&str]) -> Vec<Value> {
    xtask::drivers::mmctl::decode(&mmctl(stack, arguments).exits(0).stdout).expect("mmctl prints JSON")
}

fn our_hooks(stack: &Stack) -> usize {
    let hooks = list(stack, &["webhook", "list"]);
    hooks.iter().filter(|hook| hook["description"] == "managed by command-center").count()
}

fn user(stack: &Stack, name: &str) -> String {
    let users = list(stack, &["user", "list", "--all"]);
    let user = users.iter().find(|user| user["username"] == name).unwrap_or_else(|| panic!("no {name}"));
    user["id"].as_str().expect("an id").to_owned()
}

/// The newest posts of a channel of the team.
pub fn posts(stack: &Stack, channel: &str) -> Vec<Value> {
    let (site, token) = (stack.site("localhost"), stack.secret(ADMIN_TOKEN));
    let get = |path: &str| {
        let answer = https::get(&site, path, Some(&token)).expect("the site answers");
        assert_eq!(answer.status(), 200, "{path}");
        https::json(&answer).expect("JSON")
    };
    let channel = get(&format!("/api/v4/teams/name/engineering/channels/name/{channel}"));
    let page = get(&format!("/api/v4/channels/{}/posts?per_page=60", channel["id"].as_str().expect("an id")));
    page["posts"].as_object().map(|posts| posts.values().cloned().collect()).unwrap_or_default()
}

fn edit_secrets(stack: &Stack, edit: impl Fn(&str) -> String) {
    let path = xtask::secrets::path(&stack.root);
    let text = std::fs::read_to_string(&path).expect("the stack has secrets");
    std::fs::write(&path, edit(&text)).expect("target/ can be written");
}
