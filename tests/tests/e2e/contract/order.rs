//! In which order the recorded lines are replayed: mmctl's as recorded, the REST calls between them where the state is
//! the one that they were recorded in.

use serde_json::Value;

use super::{Contract, Http, Mmctl, text};

impl Contract {
    /// What mmctl says while no server runs: to be called with a container of the image in which only mmctl runs.
    pub fn before_start(&mut self, mmctl: Mmctl) {
        self.mmctl_line(mmctl, |it| text(it, "note").starts_with("server not up yet"));
    }

    /// What a server on an empty database answers to strangers. It ends with an account, so `replay` needs another
    /// empty database.
    pub fn registration(&mut self, http: Http) {
        self.http_line(http, |it| text(it, "note") == "fresh database: a weak password");
        self.http_line(http, |it| text(it, "note").starts_with("fresh database: the first account"));
        self.http_line(http, |it| text(it, "note") == "the second account");
    }

    /// Everything else, on an empty database. mmctl's lines go in recorded order; the REST calls between them stand
    /// where the state is the one that they were recorded in.
    pub fn replay(&mut self, mmctl: Mmctl, http: Http) {
        self.http_lines(http, |path| path.starts_with("/api/v4/system/ping"));
        self.http_lines(http, |path| path.contains("/client?format=old"));
        self.http_lines(http, |path| path == "/api/v4/websocket");

        self.mmctl_until(mmctl, "user create --email human@cicd.local");
        self.http_line(http, |it| text(it, "note") == "login");
        self.http_line(http, |it| text(it, "note") == "login, wrong password");
        self.http_lines(http, |path| path.starts_with("/plugins/com.mattermost.calls/"));
        // Recorded later in the file, but the lists that follow already show the account deactivated. So was the owner
        // of the webhook when it was posted to: the token of that account is refused next to it.
        self.mmctl_line(mmctl, |it| it["exit"].is_null());
        self.http_lines(http, |path| path.starts_with("/hooks/6fang") || path.starts_with("/hooks/aaaa"));
        self.http_lines(http, |path| path.starts_with("/api/v4/teams/name/"));
        self.http_lines(http, |path| path.ends_with("/posts?per_page=3"));
        self.http_line(http, |it| text(it, "note").starts_with("bot's access token"));
        self.http_line(http, |it| text(it, "note").starts_with("bot's access token"));
        self.http_lines(http, |path| path == "/api/v4/posts");

        self.mmctl_until(mmctl, "bot assign b2-bot admin");
        self.http_lines(http, |path| path.starts_with("/api/v4/hooks/incoming"));
        self.http_lines(http, |path| path.starts_with("/api/v4/bots"));
        self.prepare(
            mmctl,
            &["user", "create", "--email", "b2@x.local", "--username", "b2-bot", "--password", "Correct-Horse-9"],
        );
        self.prepare(mmctl, &["user", "convert", "b2-bot", "--bot"]);
        let token = self.prepare(mmctl, &["token", "generate", "b2-bot", "contract"]);
        self.bind_words("(a bot's token from `token generate`)", &token[0]["token"]);
        self.http_line(http, |it| text(&it["request"]["headers"], "Authorization").contains("(a bot's token"));

        self.mmctl_until(mmctl, "user create --email q@cicd.local");
        let administrator = self.comparison.bound.get("fqojc7yb4b8ourmi6wzsm1ixwr").cloned().unwrap_or_default();
        self.bind_words("(the administrator's token)", &Value::from(administrator));
        self.http_lines(http, |path| path.starts_with("/api/v4/users/username/"));
        self.http_line(http, |it| text(it, "note") == "wrong token");
        self.http_line(http, |it| text(it, "note") == "registration once accounts exist");

        self.mmctl_until(mmctl, "webhook create-incoming --channel engineering:alerts");
        // Two of the team's six members have no name in the recording.
        for (name, recorded) in [("human", "g61xx1tmh3r5ucjwdao3ed9ush"), ("gitlab-bot", "i6yk4e96tp8ebn64b4q4c3jrbh")]
        {
            self.prepare(mmctl, &["team", "users", "add", "engineering", name]);
            let user = self.prepare(mmctl, &["user", "search", name]);
            self.bind_words(recorded, &user["id"]);
        }
        self.prepare(mmctl, &["team", "users", "add", "engineering", "b2-bot"]);
        self.http_lines(http, |path| path.starts_with("/api/v4/channels/wg81"));
        self.http_lines(http, |path| path.starts_with("/api/v4/teams/"));
        self.http_lines(http, |path| path.starts_with("/api/v4/channels?"));
        self.http_lines(http, |path| path.starts_with("/api/v4/commands?"));
        self.http_lines(http, |path| path.starts_with("/api/v4/hooks/outgoing"));

        self.prepare(mmctl, &["bot", "update", "b2-bot", "--description", "managed by command-center"]);
        self.mmctl_until(mmctl, "(the end)");
        self.http_line(http, |it| text(it, "note") == "a deleted hook");
    }
}
