//! A model of what the calls do to Mattermost's state, as recorded. It makes a second hook of the same name without a word,
//! refuses the name of what is archived, and leaves a converted bot its own owner.

use serde_json::json;
use xtask::secrets::{ADMIN_ID, Secrets};
use xtask::settings::PluginValue;
use xtask::wiring::actual::{Actual, Bot, Channel, Command, IncomingHook, OutgoingHook, Team, User};
use xtask::wiring::mark::{MARK, TEAM_EMAIL, bot_email, marked};
use xtask::wiring::plan::Action;

pub const ADMIN: &str = "id-admin";

pub struct Model {
    pub actual: Actual,
    pub secrets: Secrets,
    next: u32,
}

impl Model {
    /// A fresh server: the administrator and nothing else.
    pub fn fresh() -> Model {
        let mut secrets = Secrets::default();
        secrets.set(ADMIN_ID, ADMIN, "2026-11-24");
        let mut actual = Actual::default();
        actual.users.push(user(ADMIN, "admin", "admin@cicd.local"));
        actual.configuration.insert("TeamSettings.EnableJoinLeaveMessageByDefault".to_owned(), json!(true));
        Model { actual, secrets, next: 0 }
    }

    pub fn id(&mut self) -> String {
        self.next += 1;
        format!("id-{}", self.next)
    }

    /// The call happened; its answer never arrived, so nothing of it is noted.
    pub fn perform_and_forget(&mut self, action: &Action) {
        let before = self.secrets.clone();
        self.perform(action);
        self.secrets = before;
    }

    pub fn perform(&mut self, action: &Action) {
        let id = self.id();
        match action {
            Action::CreateTeam(team) => {
                assert!(self.actual.team(&team.name).is_none(), "A team with this URL already exists.");
                self.actual.teams.push(Team {
                    id,
                    name: team.name.clone(),
                    display_name: team.display_name.clone(),
                    email: TEAM_EMAIL.to_owned(),
                    delete_at: 0,
                });
            }
            Action::RenameTeam { team, display_name } => self.team(team).display_name.clone_from(display_name),
            Action::AddToTeam { team, users } => {
                let place = self.team(team).id.clone();
                self.add(&place, users);
            }
            Action::CreateChannel { team, channel } => {
                let exists = self.actual.channel(team, &channel.name).is_some();
                assert!(!exists, "A channel with that name already exists on the same team.");
                let team_id = self.team(team).id.clone();
                self.actual.channels.push(Channel {
                    id,
                    team_id,
                    name: channel.name.clone(),
                    display_name: channel.display_name.clone(),
                    kind: kind(channel.private),
                    purpose: marked(&channel.purpose),
                    header: channel.header.clone(),
                    delete_at: 0,
                });
            }
            Action::RenameChannel { team, channel, display_name } => {
                self.channel(team, channel).display_name.clone_from(display_name);
            }
            Action::SetPrivacy { team, channel, private } => self.channel(team, channel).kind = kind(*private),
            Action::DescribeChannel { id, purpose, header } => {
                let channel = self.actual.channels.iter_mut().find(|channel| channel.id == *id).expect("the channel");
                channel.purpose.clone_from(purpose);
                channel.header.clone_from(header);
            }
            Action::AddToChannel { team, channel, users } => {
                let (place, team) = (self.channel(team, channel).id.clone(), self.team(team).id.clone());
                for user in users {
                    let id = self.user(user);
                    assert!(self.actual.is_member(&team, &id), "{user} is in the team before the channel");
                }
                self.add(&place, users);
            }
            Action::CreateBotUser { name } => {
                assert!(self.actual.user(name).is_none(), "An account with that username already exists.");
                self.actual.users.push(user(&id, name, &bot_email(name)));
            }
            Action::ConvertToBot { name } => {
                assert!(self.actual.bot(name).is_none(), "Unable to save the bot.");
                let user = self.actual.users.iter_mut().find(|user| user.username == *name).expect("the account");
                user.is_bot = true;
                self.actual.bots.push(Bot {
                    user_id: user.id.clone(),
                    username: name.clone(),
                    display_name: name.clone(),
                    description: String::new(),
                    owner_id: user.id.clone(),
                    delete_at: 0,
                });
            }
            Action::AssignBot { name, owner } => {
                let owner = self.user(owner);
                self.bot(name).owner_id = owner;
            }
            Action::DescribeBot(bot) => {
                let actual = self.bot(&bot.name);
                actual.display_name.clone_from(&bot.display_name);
                actual.description = marked(&bot.description);
            }
            Action::MakeToken { secret, .. } => {
                self.note(secret, &id);
                self.actual.working_tokens.insert(secret.clone());
            }
            Action::CreateIncoming(hook) => {
                let channel = self.actual.channel_at(&hook.channel).expect("the channel").clone();
                let user_id = self.user(&hook.bot);
                assert!(self.actual.is_member(&channel.id, &user_id), "the bot is in the channel that it posts to");
                self.actual.incoming.push(IncomingHook {
                    id: id.clone(),
                    user_id,
                    channel_id: channel.id,
                    team_id: channel.team_id,
                    display_name: hook.display_name.clone(),
                    description: MARK.to_owned(),
                    channel_locked: hook.locked,
                });
                self.note(&hook.secret, &id);
            }
            Action::ModifyIncoming { id, hook } => {
                let channel = self.actual.channel_at(&hook.channel).expect("the channel").id.clone();
                let actual = self.actual.incoming.iter_mut().find(|actual| actual.id == *id).expect("the hook");
                actual.channel_id = channel;
                actual.display_name.clone_from(&hook.display_name);
                actual.channel_locked = hook.locked;
            }
            Action::DeleteHook { id } => {
                self.actual.incoming.retain(|hook| hook.id != *id);
                self.actual.outgoing.retain(|hook| hook.id != *id);
            }
            Action::CreateOutgoing(hook) => {
                let channel = self.actual.channel(&hook.team, &hook.channel).map(|channel| channel.id.clone());
                let (team_id, creator_id) = (self.team(&hook.team).id.clone(), self.user(&hook.bot));
                self.actual.outgoing.push(OutgoingHook {
                    token: format!("token-{id}"),
                    id: id.clone(),
                    creator_id,
                    team_id,
                    channel_id: channel.unwrap_or_default(),
                    trigger_words: hook.trigger_words.clone(),
                    callback_urls: hook.urls.clone(),
                    display_name: hook.display_name.clone(),
                    description: MARK.to_owned(),
                    content_type: hook.content_type.clone(),
                });
                self.note(&hook.secret, &format!("token-{id}"));
            }
            Action::CreateCommand { command, .. } => {
                let team_id = self.team(&command.team).id.clone();
                let taken = self.actual.commands.iter().any(|actual| {
                    actual.team_id == team_id && actual.trigger == command.trigger && actual.delete_at == 0
                });
                assert!(!taken, "unable to create command");
                self.actual.commands.push(Command {
                    token: format!("token-{id}"),
                    id: id.clone(),
                    team_id,
                    trigger: command.trigger.clone(),
                    method: if command.post { "P" } else { "G" }.to_owned(),
                    username: command.username.clone(),
                    auto_complete: command.autocomplete,
                    auto_complete_hint: command.autocomplete_hint.clone(),
                    display_name: command.display_name.clone(),
                    description: marked(&command.description),
                    url: command.url.clone(),
                    delete_at: 0,
                });
                self.note(&command.secret, &format!("token-{id}"));
            }
            Action::ModifyCommand { id, command } => {
                let actual = self.actual.commands.iter_mut().find(|actual| actual.id == *id).expect("the command");
                actual.display_name.clone_from(&command.display_name);
                actual.url.clone_from(&command.url);
            }
            Action::Adopt { secret, value } => self.note(secret, &value.0),
            Action::InstallPlugin(plugin) => {
                self.actual.plugins.installed.insert(plugin.id.clone(), plugin.version.clone());
            }
            Action::ConfigurePlugin(plugin) => {
                for (name, value) in &plugin.settings {
                    let value = match value {
                        PluginValue::Plain(value) => json!(value),
                        PluginValue::Secret(secret) => {
                            if self.secrets.get(&secret.secret).is_none() {
                                self.note(&secret.secret, &id);
                            }
                            json!(self.secrets.get(&secret.secret))
                        }
                    };
                    let settings = self.actual.plugins.settings.entry(plugin.id.clone()).or_default();
                    settings.insert(name.clone(), value);
                }
            }
            Action::EnablePlugin { id } => drop(self.actual.plugins.enabled.insert(id.clone())),
            Action::DisablePlugin { id } => drop(self.actual.plugins.enabled.remove(id)),
            Action::Configure(values) => self.actual.configuration.extend(values.clone()),
            Action::ArchiveTeam { team } => self.team(team).delete_at = 1,
            Action::ArchiveChannel { team, channel } => self.channel(team, channel).delete_at = 1,
            Action::DisableBot { name } => {
                let bot = self.bot(name);
                assert!(bot.owner_id != bot.user_id, "a bot that owns itself hangs the server");
                bot.delete_at = 1;
            }
            Action::ArchiveCommand { id } => self.actual.commands.retain(|command| command.id != *id),
        }
    }

    fn note(&mut self, name: &str, value: &str) {
        self.secrets.set(name, value, "2026-11-24");
    }

    pub fn team(&mut self, name: &str) -> &mut Team {
        self.actual.teams.iter_mut().find(|team| team.name == name).expect("the team")
    }

    pub fn channel(&mut self, team: &str, name: &str) -> &mut Channel {
        let id = self.actual.channel(team, name).expect("the channel").id.clone();
        self.actual.channels.iter_mut().find(|channel| channel.id == id).expect("the channel")
    }

    pub fn bot(&mut self, name: &str) -> &mut Bot {
        self.actual.bots.iter_mut().find(|bot| bot.username == name).expect("the bot")
    }

    fn user(&self, name: &str) -> String {
        self.actual.user(name).expect("the user").id.clone()
    }

    fn add(&mut self, place: &str, users: &[String]) {
        for user in users {
            let user = self.user(user);
            self.actual.members.insert((place.to_owned(), user));
        }
    }
}

pub fn user(id: &str, name: &str, email: &str) -> User {
    User { id: id.to_owned(), username: name.to_owned(), email: email.to_owned(), is_bot: false, delete_at: 0 }
}

fn kind(private: bool) -> String {
    if private { "P" } else { "O" }.to_owned()
}
