//! The planner: wanted state and actual state in, a plan out. Pure.
//!
//! It owns what carries our mark and nothing else. Whatever call a run was cut off after, a new plan holds the rest.

mod bots;
mod hooks;
mod places;
mod plugins;

pub(super) use plugins::plain;

use crate::secrets::{ADMIN_ID, Secrets};
use crate::settings::Settings;

use super::actual::Actual;
use super::plan::{Plan, Problem};

/// What has to be done so that Mattermost has what stack.toml says.
pub fn plan(settings: &Settings, secrets: &Secrets, actual: &Actual) -> Plan {
    let mut plan = Plan::default();
    let wanted = Wanted { settings, secrets, actual };
    places::teams(&wanted, &mut plan);
    bots::bots(&wanted, &mut plan);
    places::team_members(&wanted, &mut plan);
    places::channels(&wanted, &mut plan);
    places::channel_members(&wanted, &mut plan);
    hooks::incoming(&wanted, &mut plan);
    hooks::outgoing(&wanted, &mut plan);
    hooks::commands(&wanted, &mut plan);
    plugins::plugins(&wanted, &mut plan);
    plugins::configuration(&wanted, &mut plan);
    places::orphans(&wanted, &mut plan);
    plan
}

/// What every part of the planner looks at.
struct Wanted<'a> {
    settings: &'a Settings,
    secrets: &'a Secrets,
    actual: &'a Actual,
}

impl Wanted<'_> {
    /// The administrator's user name today: the account is known by its id.
    fn administrator(&self) -> &str {
        let id = self.secrets.get(ADMIN_ID);
        let user = self.actual.users.iter().find(|user| Some(user.id.as_str()) == id);
        user.map_or(&self.settings.administrator.name, |user| &user.username)
    }

    /// A command for somebody who has to decide.
    fn by_hand(&self, arguments: &str) -> String {
        format!("`docker exec {}-mattermost-1 mmctl --local {arguments}`", self.settings.name)
    }

    /// The team of a `team:channel`.
    fn team_of<'a>(&self, place: &'a str) -> &'a str {
        place.split_once(':').map_or(place, |(team, _)| team)
    }
}

fn problem(plan: &mut Plan, what: String, fix: String) {
    plan.problems.push(Problem { what, fix });
}
