//! Whatever the settings, the drift and the moment of an interruption: one more run finishes, and nothing is there twice.

use proptest::prelude::*;
use proptest::sample::subsequence;
use xtask::settings::{Bot, OutgoingWebhook, Plugin, PluginValue, SecretName, Settings, SlashCommand};
use xtask::wiring::mark::is_marked;
use xtask::wiring::plan::Action;
use xtask::wiring::planner::plan;

use crate::common;
use crate::model::{Model, user};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn after_an_apply_the_plan_is_empty(settings in any_settings()) {
        let mut model = Model::fresh();
        run(&mut model, &settings);
        let left = plan(&settings, &model.secrets, &model.actual);
        prop_assert!(left.is_empty() && left.problems.is_empty() && left.orphans.is_empty(), "{}", left.text());
    }

    #[test]
    fn a_run_that_was_cut_off_is_finished_by_the_next(settings in any_settings(), cut in 0..80usize, forget: bool) {
        let mut model = Model::fresh();
        let actions = actions(&model, &settings);
        let cut = cut.min(actions.len());
        for (index, action) in actions[..cut].iter().enumerate() {
            if forget && index + 1 == cut {
                model.perform_and_forget(action);
            } else {
                model.perform(action);
            }
        }
        run(&mut model, &settings);
        let left = plan(&settings, &model.secrets, &model.actual);
        prop_assert!(left.is_empty() && left.problems.is_empty(), "cut after {cut}: {}", left.text());
        nothing_is_there_twice(&model)?;
    }

    #[test]
    fn from_one_stack_toml_to_any_other(before in any_settings(), after in any_settings()) {
        let mut model = Model::fresh();
        run(&mut model, &before);
        run(&mut model, &after);
        let left = plan(&after, &model.secrets, &model.actual);
        prop_assert!(left.is_empty(), "{}", left.text());
        for orphan in left.orphans {
            for action in &orphan.actions {
                model.perform(action);
            }
        }
        let left = plan(&after, &model.secrets, &model.actual);
        prop_assert!(left.is_empty() && left.orphans.is_empty(), "{}", left.text());
        nothing_is_there_twice(&model)?;
    }

    #[test]
    fn what_people_made_is_never_touched(settings in any_settings(), prune: bool) {
        let mut model = Model::fresh();
        by_hand(&mut model);
        let before = format!("{:?}", foreign(&model));
        run(&mut model, &settings);
        if prune {
            for orphan in plan(&settings, &model.secrets, &model.actual).orphans {
                orphan.actions.iter().for_each(|action| model.perform(action));
            }
        }
        prop_assert_eq!(before, format!("{:?}", foreign(&model)));
    }
}

fn actions(model: &Model, settings: &Settings) -> Vec<Action> {
    let plan = plan(settings, &model.secrets, &model.actual);
    assert!(plan.problems.is_empty(), "{}", plan.text());
    plan.steps.into_iter().flat_map(|step| step.actions).collect()
}

fn run(model: &mut Model, settings: &Settings) {
    for action in actions(model, settings) {
        model.perform(&action);
    }
}

fn nothing_is_there_twice(model: &Model) -> Result<(), TestCaseError> {
    let ours = model.actual.incoming.iter().filter(|hook| is_marked(&hook.description));
    let mut places: Vec<_> = ours.map(|hook| (&hook.channel_id, &hook.display_name)).collect();
    let count = places.len();
    places.sort();
    places.dedup();
    prop_assert_eq!(count, places.len(), "an incoming webhook is there twice");
    let mut names: Vec<_> = model.actual.outgoing.iter().map(|hook| (&hook.team_id, &hook.display_name)).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    prop_assert_eq!(count, names.len(), "an outgoing webhook is there twice");
    Ok(())
}

/// A team, channels, a bot and a hook without our mark, some under names that stack.toml wants as well.
fn by_hand(model: &mut Model) {
    let mut shipped = common::settings(&common::shipped());
    shipped.teams[0].channels.truncate(1);
    shipped.incoming_webhooks.truncate(1);
    shipped.bots.truncate(1);
    run(model, &shipped);
    model.team("engineering").email.clear();
    model.team("engineering").display_name = "Made by hand".to_owned();
    model.channel("engineering", "builds").purpose = "made by hand".to_owned();
    model.bot("jenkins-bot").description.clear();
    for user in &mut model.actual.users {
        user.email = "someone@cicd.local".to_owned();
    }
    model.actual.incoming[0].description.clear();
    model.secrets.remove("JENKINS_BUILDS_HOOK");
    model.actual.users.push(user("id-alice", "alice", "alice@cicd.local"));
}

fn foreign(model: &Model) -> impl std::fmt::Debug {
    let actual = &model.actual;
    let teams: Vec<_> = actual.teams.iter().filter(|team| team.email.is_empty()).cloned().collect();
    let channels: Vec<_> = actual.channels.iter().filter(|channel| !is_marked(&channel.purpose)).cloned().collect();
    let bots: Vec<_> = actual.bots.iter().filter(|bot| !is_marked(&bot.description)).cloned().collect();
    let hooks: Vec<_> = actual.incoming.iter().filter(|hook| !is_marked(&hook.description)).cloned().collect();
    (teams, channels, bots, hooks)
}

/// Parts of the shipped wiring and of some more, in any combination that stack.toml allows.
fn any_settings() -> impl Strategy<Value = Settings> {
    let shipped = common::settings(&common::shipped());
    let count = shipped.incoming_webhooks.len();
    let hooks = subsequence((0..count).collect::<Vec<_>>(), 0..=count);
    (hooks, any::<[bool; 8]>(), 0..3usize).prop_map(move |(hooks, chosen, variant)| {
        let mut settings = shipped.clone();
        settings.incoming_webhooks = hooks.iter().map(|index| shipped.incoming_webhooks[*index].clone()).collect();
        if chosen[0] {
            settings.teams[0].channels[1].private = true;
            settings.teams[0].channels[1].header = "see the [runbook](https://x)".to_owned();
        }
        if chosen[1] {
            let mut second = settings.teams[0].clone();
            second.name = "operations".to_owned();
            second.channels.truncate(variant);
            settings.teams.push(second);
        }
        if chosen[2] {
            settings.bots[0].token = "JENKINS_BOT_TOKEN".to_owned();
            settings.bots[1].display_name = format!("GitLab {variant}");
        }
        if chosen[3] {
            settings.outgoing_webhooks.push(outgoing(variant));
        }
        if chosen[4] {
            settings.slash_commands.push(command(variant));
        }
        if chosen[5] {
            settings.plugins.push(plugin(variant));
        }
        if chosen[6] {
            for hook in &mut settings.incoming_webhooks {
                hook.locked = false;
                hook.bot.clone_from(&settings.bots[variant].name);
            }
        }
        if chosen[7] {
            settings.teams[0].channels[0].people.push("admin".to_owned());
            settings.teams[0].people.push("nobody".to_owned());
        }
        settings.bots.push(Bot { name: "spare-bot".to_owned(), ..settings.bots[0].clone() });
        settings.bots[3].token.clear();
        settings
    })
}

fn outgoing(variant: usize) -> OutgoingWebhook {
    OutgoingWebhook {
        secret: "DEPLOY_TOKEN".to_owned(),
        display_name: "Deployments".to_owned(),
        team: "engineering".to_owned(),
        channel: if variant == 0 { "" } else { "builds" }.to_owned(),
        bot: "jenkins-bot".to_owned(),
        trigger_words: vec![format!("deploy{variant}")],
        urls: vec!["https://jenkins.cicd.local/x".to_owned()],
        content_type: "application/json".to_owned(),
    }
}

fn command(variant: usize) -> SlashCommand {
    SlashCommand {
        secret: "BUILD_TOKEN".to_owned(),
        team: "engineering".to_owned(),
        trigger: "build".to_owned(),
        display_name: format!("Build {variant}"),
        description: "Starts a build".to_owned(),
        url: "https://jenkins.cicd.local/x".to_owned(),
        post: variant == 2,
        username: "jenkins".to_owned(),
        autocomplete: true,
        autocomplete_hint: "[job]".to_owned(),
    }
}

fn plugin(variant: usize) -> Plugin {
    let url = PluginValue::Plain(toml_text(&format!("https://jenkins{variant}.cicd.local")));
    let key = PluginValue::Secret(SecretName { secret: "JENKINS_PLUGIN_KEY".to_owned() });
    Plugin {
        id: "jenkins".to_owned(),
        enabled: variant != 1,
        bundle: "bundles/jenkins.tar.gz".into(),
        sha256: "0".repeat(64),
        version: format!("1.{variant}.0"),
        settings: [("jenkinsurl".to_owned(), url), ("encryptionkey".to_owned(), key)].into(),
    }
}

fn toml_text(text: &str) -> toml::Value {
    toml::Value::String(text.to_owned())
}
