//! The commands that mmctl 11.6 has, covered here or not, and its help, which is recorded for `mmctl command`.

type Commands = &'static [(&'static str, &'static str)];

pub fn group(name: &str) -> Option<Commands> {
    GROUPS.iter().find(|(group, _)| *group == name).map(|(_, commands)| *commands)
}

pub fn of_group(group: &str, commands: Commands) -> String {
    let title = if group == "command" { "Management of slash commands" } else { "(help of the lab's stand-in)" };
    let width = commands.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(11);
    let lines: String =
        commands.iter().map(|(name, text)| format!("  {name:width$} {text}").trim_end().to_owned() + "\n").collect();
    format!(
        "{title}\n\nUsage:\n  mmctl {group} [command]\n\nAvailable Commands:\n{lines}\n\
         Flags:\n  -h, --help   help for {group}\n\nGlobal Flags:\n{GLOBAL_FLAGS}\n\
         Use \"mmctl {group} [command] --help\" for more information about a command.\n"
    )
}

pub fn of_mmctl() -> String {
    let groups: String = GROUPS.iter().map(|(name, _)| format!("  {name}\n")).collect();
    format!("mmctl of the lab's stand-in for Mattermost\n\nUsage:\n  mmctl [command]\n\nAvailable Commands:\n{groups}")
}

const GLOBAL_FLAGS: &str = "\
\x20     --config string                path to the configuration file (default \"$XDG_CONFIG_HOME/mmctl/config\")\n\
\x20     --disable-pager                disables paged output\n\
\x20     --insecure-sha1-intermediate   allows to use insecure TLS protocols, such as SHA-1\n\
\x20     --insecure-tls-version         allows to use TLS versions 1.0 and 1.1\n\
\x20     --json                         the output format will be in json format\n\
\x20     --local                        allows communicating with the server through a unix socket\n\
\x20     --quiet                        prevent mmctl to generate output for the commands\n\
\x20     --strict                       will only run commands if the mmctl version matches the server one\n\
\x20     --suppress-warnings            disables printing warning messages\n\
";

const GROUPS: &[(&str, Commands)] = &[
    (
        "auth",
        &[("clean", ""), ("current", ""), ("delete", ""), ("list", ""), ("login", ""), ("renew", ""), ("set", "")],
    ),
    ("bot", &[("assign", ""), ("create", ""), ("disable", ""), ("enable", ""), ("list", ""), ("update", "")]),
    (
        "channel",
        &[
            ("archive", ""),
            ("create", ""),
            ("delete", ""),
            ("list", ""),
            ("make-private", ""),
            ("modify", ""),
            ("move", ""),
            ("rename", ""),
            ("search", ""),
            ("unarchive", ""),
            ("users", ""),
        ],
    ),
    (
        "command",
        &[
            ("archive", "Archive a slash command"),
            ("create", "Create a custom slash command"),
            ("list", "List all commands on specified teams."),
            ("modify", "Modify a slash command"),
            ("move", "Move a slash command to a different team"),
            ("show", "Show a custom slash command"),
        ],
    ),
    ("completion", &[("bash", ""), ("zsh", "")]),
    (
        "config",
        &[
            ("edit", ""),
            ("export", ""),
            ("get", ""),
            ("migrate", ""),
            ("patch", ""),
            ("reload", ""),
            ("reset", ""),
            ("set", ""),
            ("show", ""),
            ("subpath", ""),
        ],
    ),
    ("docs", &[]),
    (
        "export",
        &[("create", ""), ("delete", ""), ("download", ""), ("generate-presigned-url", ""), ("job", ""), ("list", "")],
    ),
    ("extract", &[("job", ""), ("run", "")]),
    ("group", &[("channel", ""), ("list-ldap", ""), ("team", ""), ("user", "")]),
    ("import", &[("delete", ""), ("job", ""), ("list", ""), ("process", ""), ("upload", ""), ("validate", "")]),
    ("integrity", &[]),
    ("job", &[("list", ""), ("update", "")]),
    ("ldap", &[("idmigrate", ""), ("job", ""), ("sync", "")]),
    ("license", &[("get", ""), ("remove", ""), ("upload", ""), ("upload-string", "")]),
    ("logs", &[]),
    ("oauth", &[("list", "")]),
    ("permissions", &[("add", ""), ("remove", ""), ("reset", ""), ("role", "")]),
    (
        "plugin",
        &[
            ("add", ""),
            ("delete", ""),
            ("disable", ""),
            ("enable", ""),
            ("install-url", ""),
            ("list", ""),
            ("marketplace", ""),
        ],
    ),
    ("post", &[("create", ""), ("delete", ""), ("list", "")]),
    ("report", &[("posts", "")]),
    ("roles", &[("member", ""), ("system-admin", ""), ("system_admin", "")]),
    ("saml", &[("auth-data-reset", "")]),
    ("sampledata", &[]),
    (
        "system",
        &[("clearbusy", ""), ("getbusy", ""), ("setbusy", ""), ("status", ""), ("supportpacket", ""), ("version", "")],
    ),
    (
        "team",
        &[
            ("archive", ""),
            ("create", ""),
            ("delete", ""),
            ("list", ""),
            ("modify", ""),
            ("rename", ""),
            ("restore", ""),
            ("search", ""),
            ("users", ""),
        ],
    ),
    ("token", &[("generate", ""), ("list", ""), ("revoke", "")]),
    (
        "user",
        &[
            ("activate", ""),
            ("change-password", ""),
            ("convert", ""),
            ("create", ""),
            ("deactivate", ""),
            ("delete", ""),
            ("deleteall", ""),
            ("demote", ""),
            ("edit", ""),
            ("email", ""),
            ("invite", ""),
            ("list", ""),
            ("migrate-auth", ""),
            ("preference", ""),
            ("promote", ""),
            ("reset-password", ""),
            ("resetmfa", ""),
            ("search", ""),
            ("username", ""),
            ("verify", ""),
        ],
    ),
    ("version", &[]),
    (
        "webhook",
        &[
            ("create-incoming", ""),
            ("create-outgoing", ""),
            ("delete", ""),
            ("list", ""),
            ("modify-incoming", ""),
            ("modify-outgoing", ""),
            ("show", ""),
        ],
    ),
    ("websocket", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_help_is_kept() {
        let recorded = include_str!("../../../../contract/mattermost-11.6/mmctl.jsonl")
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find(|it| it["argv"][3] == "command" && it["argv"][4] == "delete")
            .expect("the line is recorded");
        let commands = group("command").expect("a group");
        assert_eq!(of_group("command", commands), recorded["stdout"].as_str().unwrap_or_default());
    }
}
