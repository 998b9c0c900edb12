//! Bots: created as an account, converted, at once assigned to the administrator, described.

use crate::secrets::ADMIN_ID;
use crate::settings::Bot;
use crate::wiring::actual;
use crate::wiring::mark::{bot_email, is_marked, marked};
use crate::wiring::plan::{Action, Fields, Operation, Plan, Step};

use super::{Wanted, problem};

pub(super) fn bots(wanted: &Wanted<'_>, plan: &mut Plan) {
    for bot in &wanted.settings.bots {
        match (wanted.actual.bot(&bot.name), wanted.actual.user(&bot.name)) {
            (Some(actual), user) => {
                let is_begun = user.is_some_and(|user| user.email == bot_email(&bot.name));
                existing(wanted, bot, actual, is_begun, plan);
            }
            (None, Some(user)) if user.email == bot_email(&bot.name) && user.delete_at == 0 => {
                plan.steps.push(create(wanted, bot, true));
            }
            (None, Some(_)) => {
                let what = format!("{} is the account of somebody, so it cannot be a bot", bot.name);
                problem(plan, what, "give the bot another name in stack.toml".to_owned());
                continue;
            }
            (None, None) => plan.steps.push(create(wanted, bot, false)),
        }
        token(wanted, bot, plan);
    }
}

fn create(wanted: &Wanted<'_>, bot: &Bot, is_begun: bool) -> Step {
    let (name, owner) = (bot.name.clone(), wanted.administrator().to_owned());
    let mut actions = Vec::new();
    if !is_begun {
        actions.push(Action::CreateBotUser { name: name.clone() });
    }
    actions.push(Action::ConvertToBot { name: name.clone() });
    actions.push(Action::AssignBot { name, owner });
    actions.push(Action::DescribeBot(bot.clone()));
    let fields = Fields::default()
        .added("display_name", &bot.display_name)
        .added("description", &bot.description)
        .added("owner", wanted.administrator());
    fields.step(Operation::Create, "bot", &bot.name, actions)
}

fn existing(wanted: &Wanted<'_>, bot: &Bot, actual: &actual::Bot, is_begun: bool, plan: &mut Plan) {
    if actual.delete_at != 0 {
        let fix = wanted.by_hand(&format!("bot enable {}", bot.name));
        problem(plan, format!("the bot {} is disabled", bot.name), format!("{fix}, or take it out of stack.toml"));
        return;
    }
    if !is_marked(&actual.description) && !is_begun {
        let note = if actual.owner_id == actual.user_id {
            let fix = wanted.by_hand(&format!("bot assign {} {}", bot.name, wanted.administrator()));
            format!("it owns itself, and deactivating it would hang the server: {fix} removes that danger")
        } else {
            "it is used as it is".to_owned()
        };
        plan.notes.push(format!("the bot {} was not made by this project; {note}", bot.name));
        return;
    }
    let owner = wanted.actual.users.iter().find(|user| user.id == actual.owner_id);
    let owner = owner.map_or(actual.owner_id.as_str(), |user| &user.username);
    let fields = Fields::default()
        .changed("display_name", &actual.display_name, &bot.display_name)
        .changed("description", &actual.description, marked(&bot.description))
        .changed("owner", owner, wanted.administrator());
    let mut actions = Vec::new();
    if fields.has("owner") && wanted.secrets.get(ADMIN_ID) != Some(&actual.owner_id) {
        let (name, owner) = (bot.name.clone(), wanted.administrator().to_owned());
        actions.push(Action::AssignBot { name, owner });
    }
    if fields.has("display_name") || fields.has("description") {
        actions.push(Action::DescribeBot(bot.clone()));
    }
    if !actions.is_empty() {
        plan.steps.push(fields.step(Operation::Change, "bot", &bot.name, actions));
    }
}

fn token(wanted: &Wanted<'_>, bot: &Bot, plan: &mut Plan) {
    if bot.token.is_empty() || wanted.actual.working_tokens.contains(&bot.token) {
        return;
    }
    let make = Action::MakeToken { bot: bot.name.clone(), secret: bot.token.clone() };
    let fields = match wanted.secrets.get(&bot.token) {
        Some(_) => Fields::default().changed("token", "refused by Mattermost", format!("new, in {}", bot.token)),
        None => Fields::default().added("token", format!("in {}", bot.token)),
    };
    plan.steps.push(fields.step(Operation::Create, "token of bot", &bot.name, vec![make]));
}
