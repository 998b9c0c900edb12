//! Mattermost and the Calls plugin.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::common::checkout;
use crate::{cases, published, texts};

/// The plugin tells clients the port that it listens on, so another one outside would be told to nobody.
#[test]
fn the_call_media_port_is_the_same_inside_and_outside() {
    for case in cases() {
        let port = case.settings.ports.calls.to_string();
        let ports = published(case.service("mattermost"));
        for protocol in ["udp", "tcp"] {
            let expected = (String::new(), port.clone(), format!("{port}/{protocol}"));
            assert!(ports.contains(&expected), "{}: {ports:?}", case.name);
        }
        assert_eq!(case.variable("MM_CALLS_UDP_SERVER_PORT"), port, "{}", case.name);
        assert_eq!(case.variable("MM_CALLS_TCP_SERVER_PORT"), port, "{}", case.name);
        assert!(!case.mattermost.contains_key("MM_CALLS_ICE_HOST_PORT_OVERRIDE"), "{}", case.name);
    }
}

/// The metrics' port also serves pprof: it is published when metrics are on, and then to this host alone.
#[test]
fn metrics_are_published_to_this_host_only_and_only_when_they_are_on() {
    for case in cases() {
        let ports = published(case.service("mattermost"));
        let metrics: Vec<_> = ports.iter().filter(|(_, _, inside)| inside.starts_with("8067")).collect();
        let on = case.settings.mattermost.metrics;
        assert_eq!(case.variable("MM_METRICSSETTINGS_ENABLE"), on.to_string(), "{}", case.name);
        let outside = case.settings.ports.metrics.to_string();
        let expected = ("127.0.0.1".to_owned(), outside, "8067/tcp".to_owned());
        assert_eq!(metrics, if on { vec![&expected] } else { Vec::new() }, "{}", case.name);
    }
}

/// Anything else that is published would be reachable from the whole LAN.
#[test]
fn nothing_but_https_and_call_media_is_published_to_the_lan() {
    for case in cases() {
        let ports = published(case.service("mattermost"));
        let inside: Vec<_> = ports.iter().filter(|port| port.0 != "127.0.0.1").map(|port| port.2.as_str()).collect();
        let calls = case.settings.ports.calls;
        assert_eq!(inside, ["8065/tcp", &format!("{calls}/udp"), &format!("{calls}/tcp")], "{}", case.name);
        assert_eq!(ports[0].1, case.settings.ports.mattermost.to_string(), "{}", case.name);
        assert_eq!(case.variable("MM_SERVICESETTINGS_LISTENADDRESS"), ":8065", "{}", case.name);
    }
}

/// On two networks the plugin answers media from the wrong one unless it is told the address, and every call fails silently.
#[test]
fn calls_listens_on_the_fixed_address_of_the_network_that_publishes_it() {
    for case in cases() {
        let network = &case.service("mattermost")["networks"]["cicd"];
        let address = network["ipv4_address"].as_str().expect("a fixed address");
        assert_eq!(address, case.settings.network.mattermost_address.to_string(), "{}", case.name);
        assert_eq!(case.variable("MM_CALLS_UDP_SERVER_ADDRESS"), address, "{}", case.name);
        assert_eq!(case.variable("MM_CALLS_TCP_SERVER_ADDRESS"), address, "{}", case.name);
        // Published ports lead to the network that has the route out: it must be the one with the higher priority.
        assert!(network["priority"].as_u64() > Some(0), "{}", case.name);
    }
}

/// Jenkins, GitLab and SonarQube find it by the name that the certificate has, on a network that outlives the stack.
#[test]
fn mattermost_has_its_name_on_the_shared_network() {
    for case in cases() {
        let network = &case.service("mattermost")["networks"]["cicd"];
        assert_eq!(texts(&network["aliases"]), [case.settings.mattermost_host()], "{}", case.name);
        let declared = &case.compose["networks"]["cicd"];
        assert_eq!(declared["external"], true, "{}: `down` must not remove a network others are on", case.name);
        assert_eq!(declared["name"], case.settings.network.name, "{}", case.name);
    }
}

/// Clients reach media by the LAN address, over our TURN server alone: the default STUN server is on the internet.
#[test]
fn calls_advertises_the_lan_address_and_only_our_turn_server() {
    for case in cases() {
        let (ip, port) = (case.lan_ip(), case.settings.ports.turn);
        assert_eq!(case.variable("MM_CALLS_ICE_HOST_OVERRIDE"), ip, "{}", case.name);
        let servers: Json = serde_json::from_str(case.variable("MM_CALLS_ICE_SERVERS_CONFIGS")).expect("it is JSON");
        let urls = [format!("turn:{ip}:{port}?transport=udp"), format!("turn:{ip}:{port}?transport=tcp")];
        // An entry with credentials of its own would not get time-limited ones.
        assert_eq!(servers, serde_json::json!([{ "urls": urls }]), "{}", case.name);
        let secret = case.variable("MM_CALLS_TURN_STATIC_AUTH_SECRET");
        assert!(case.contents("env/turnserver.conf").contains(&format!("\nstatic-auth-secret={secret}\n")));
        for name in ["MM_CALLS_DEFAULT_ENABLED", "MM_CALLS_ENABLE_VIDEO"] {
            assert_eq!(case.variable(name), "true", "{}: {name}", case.name);
        }
    }
}

/// They would undo, at each start, what mmctl and the System Console have set.
#[test]
fn plugins_are_not_configured_by_the_environment() {
    for case in cases() {
        for name in ["MM_PLUGINSETTINGS_PLUGINS", "MM_PLUGINSETTINGS_PLUGINSTATES"] {
            assert!(!case.mattermost.contains_key(name), "{}: {name}", case.name);
        }
    }
}

/// A misspelt variable is ignored by Mattermost without a word, a value of the wrong type fails or is ignored, and the plugin
/// does not start over an empty number.
#[test]
fn every_variable_exists_and_its_value_has_its_type() {
    let types = variable_types();
    for case in cases() {
        for (name, value) in case.mattermost.iter().filter(|(name, _)| name.starts_with("MM_")) {
            let Some(kind) = types.get(name) else { panic!("{}: Mattermost 11.6 has no {name}", case.name) };
            let fits = match kind.trim_start_matches('*') {
                "bool" => value == "true" || value == "false",
                "int" => value.parse::<i64>().is_ok(),
                "string" | "list" => true,
                "main.ICEServersConfigs" => serde_json::from_str::<Json>(value).is_ok_and(|value| value.is_array()),
                other => panic!("{}: no test knows the type {other} of {name}", case.name),
            };
            assert!(fits, "{}: {name} is a {kind}, and {value:?} is none", case.name);
        }
        let foreign: Vec<_> = case.mattermost.keys().filter(|name| !name.starts_with("MM_")).collect();
        assert!(foreign.is_empty(), "{}: {foreign:?}", case.name);
    }
}

/// Another origin could open the WebSocket with a victim's cookies.
#[test]
fn only_the_lan_addresses_are_origins() {
    for case in cases() {
        let port = case.settings.ports.mattermost;
        let lan = crate::common::host_for(&case.settings).lan;
        let expected: Vec<_> = lan.iter().map(|lan| format!("https://{}:{port}", lan.address)).collect();
        let origins = case.variable("MM_SERVICESETTINGS_ALLOWCORSFROM");
        assert!(!origins.contains('*'), "{}", case.name);
        assert_eq!(origins.split(' ').collect::<Vec<_>>(), expected, "{}", case.name);
        let url = format!("https://mattermost.{}:{port}", case.settings.domain);
        assert_eq!(case.variable("MM_SERVICESETTINGS_SITEURL"), url, "{}", case.name);
    }
}

/// Its own TLS: there is no proxy in front of it.
#[test]
fn mattermost_serves_tls_with_the_files_that_are_mounted() {
    for case in cases() {
        assert_eq!(case.variable("MM_SERVICESETTINGS_CONNECTIONSECURITY"), "TLS", "{}", case.name);
        let mounts = case.service("mattermost")["volumes"].as_sequence().expect("it has volumes");
        let tls = mounts.iter().find(|mount| mount["source"] == "mattermost-tls").expect("its TLS volume is mounted");
        assert_eq!(tls["read_only"], true, "{}", case.name);
        for (variable, file) in [("TLSCERTFILE", "tls.crt"), ("TLSKEYFILE", "tls.key")] {
            let path = case.variable(&format!("MM_SERVICESETTINGS_{variable}"));
            let target = tls["target"].as_str().expect("a mount has a target");
            assert_eq!(path, format!("{target}/{file}"), "{}", case.name);
        }
        assert_eq!(case.variable("MM_SERVICESETTINGS_ENABLEINSECUREOUTGOINGCONNECTIONS"), "false", "{}", case.name);
    }
}

/// An air-gapped server that calls home leaks, hangs in timeouts and fills its log.
#[test]
fn nothing_calls_home() {
    const OFF: &[&str] = &[
        "MM_ANNOUNCEMENTSETTINGS_ADMINNOTICESENABLED",
        "MM_ANNOUNCEMENTSETTINGS_USERNOTICESENABLED",
        "MM_SERVICESETTINGS_ENABLESECURITYFIXALERT",
        "MM_LOGSETTINGS_ENABLEDIAGNOSTICS",
        "MM_LOGSETTINGS_ENABLESENTRY",
        "MM_EMAILSETTINGS_SENDPUSHNOTIFICATIONS",
        "MM_SERVICESETTINGS_ENABLELINKPREVIEWS",
        "MM_SERVICESETTINGS_ENABLEGIFPICKER",
        "MM_PLUGINSETTINGS_ENABLEREMOTEMARKETPLACE",
    ];
    for case in cases() {
        for name in OFF {
            assert_eq!(case.variable(name), "false", "{}: {name}", case.name);
        }
    }
}

/// A subnet would let whoever can make a webhook reach every host of the LAN through the server.
#[test]
fn internal_connections_go_to_the_named_hosts_only() {
    for case in cases() {
        let allowed = case.variable("MM_SERVICESETTINGS_ALLOWEDUNTRUSTEDINTERNALCONNECTIONS");
        assert_eq!(allowed, case.settings.mattermost.allowed_internal_hosts.join(" "), "{}", case.name);
        assert!(!allowed.contains(['/', '*']), "{}: {allowed}", case.name);
    }
}

/// The image has no shell and no curl: a test of ours would always fail, and migrations take their time.
#[test]
fn the_images_own_health_check_is_kept_and_has_a_start_period() {
    for case in cases() {
        let check = &case.service("mattermost")["healthcheck"];
        assert!(check["test"].is_null() && check["disable"].is_null(), "{}", case.name);
        assert!(check["start_period"].is_string(), "{}", case.name);
        assert!(case.service("mattermost")["entrypoint"].is_null(), "{}", case.name);
        assert!(case.service("mattermost")["command"].is_null(), "{}", case.name);
    }
}

/// Everything that must outlive an upgrade of the image has a volume, and the process is nobody's superuser.
#[test]
fn mattermost_keeps_its_data_in_volumes_and_runs_as_its_user() {
    for case in cases() {
        let mattermost = case.service("mattermost");
        assert_eq!(mattermost["user"], "2000:2000", "{}", case.name);
        let mounts = mattermost["volumes"].as_sequence().expect("it has volumes");
        for (volume, target) in [
            ("mattermost-config", "/mattermost/config"),
            ("mattermost-data", "/mattermost/data"),
            ("mattermost-logs", "/mattermost/logs"),
            ("mattermost-plugins", "/mattermost/plugins"),
            ("mattermost-client-plugins", "/mattermost/client/plugins"),
        ] {
            assert!(mounts.iter().any(|mount| *mount == format!("{volume}:{target}")), "{}: {volume}", case.name);
            assert!(case.compose["volumes"].get(volume).is_some(), "{}: {volume}", case.name);
        }
        let ca = mounts.iter().find(|mount| mount["source"] == "../certs/ca.crt").expect("our CA is mounted");
        let target = ca["target"].as_str().expect("a mount has a target");
        assert!(target.starts_with("/etc/ssl/certs/"), "{}: Go looks there: {target}", case.name);
    }
}

/// Go reads every file of that folder. An empty list mounts nothing: the file would not be there.
#[test]
fn cas_of_the_tools_are_mounted_where_go_looks_and_only_when_there_are_any() {
    let mut with_some = 0;
    for case in cases() {
        let mounts = case.service("mattermost")["volumes"].as_sequence().expect("it has volumes");
        let mount = mounts.iter().find(|mount| mount["source"] == "../certs/extra-trust.crt");
        let file = case.files.iter().find(|file| file.path == "certs/extra-trust.crt");
        let any = !case.settings.certificates.extra_trust.is_empty();
        assert_eq!((mount.is_some(), file.is_some()), (any, any), "{}", case.name);
        if let Some(mount) = mount {
            assert_eq!(mount["target"], "/etc/ssl/certs/command-center-extra-trust.crt", "{}", case.name);
            assert_eq!(mount["read_only"], true, "{}", case.name);
            with_some += 1;
        }
    }
    assert!(with_some > 0, "a case has some");
}

/// Every setting of stack.toml reaches the server, under the name of its variable.
#[test]
fn each_setting_reaches_the_server() {
    for case in cases() {
        let set = &case.settings.mattermost;
        for (variable, expected) in [
            ("MM_SERVICESETTINGS_ENABLELOCALMODE", set.local_mode.to_string()),
            ("MM_SERVICESETTINGS_ENABLELATEX", set.latex.to_string()),
            ("MM_SERVICESETTINGS_ENABLEINLINELATEX", set.inline_latex.to_string()),
            ("MM_SERVICESETTINGS_ENABLECUSTOMGROUPS", set.custom_groups.to_string()),
            ("MM_SERVICESETTINGS_ENABLECUSTOMEMOJI", set.custom_emoji.to_string()),
            ("MM_SERVICESETTINGS_POSTPRIORITY", set.post_priority.to_string()),
            ("MM_SERVICESETTINGS_COLLAPSEDTHREADS", set.collapsed_threads.to_string()),
            ("MM_SERVICESETTINGS_ENABLEBOTACCOUNTCREATION", set.bot_accounts.to_string()),
            ("MM_SERVICESETTINGS_ENABLEUSERACCESSTOKENS", set.user_access_tokens.to_string()),
            ("MM_SERVICESETTINGS_ENABLEMULTIFACTORAUTHENTICATION", set.multifactor_authentication.to_string()),
            ("MM_GUESTACCOUNTSSETTINGS_ENABLE", set.guest_accounts.to_string()),
            ("MM_SERVICESETTINGS_ENABLEPOSTUSERNAMEOVERRIDE", set.override_usernames.to_string()),
            ("MM_SERVICESETTINGS_ENABLEPOSTICONOVERRIDE", set.override_icons.to_string()),
            ("MM_PLUGINSETTINGS_ENABLEUPLOADS", set.plugin_uploads.to_string()),
            ("MM_FILESETTINGS_ENABLEPUBLICLINK", set.public_links.to_string()),
            ("MM_TEAMSETTINGS_MAXUSERSPERTEAM", set.max_users_per_team.to_string()),
            ("MM_ANNOUNCEMENTSETTINGS_ENABLEBANNER", set.banner.enabled.to_string()),
            ("MM_ANNOUNCEMENTSETTINGS_BANNERTEXT", set.banner.text.clone()),
            ("MM_ANNOUNCEMENTSETTINGS_BANNERCOLOR", set.banner.color.clone()),
            ("MM_ANNOUNCEMENTSETTINGS_BANNERTEXTCOLOR", set.banner.text_color.clone()),
            ("MM_TEAMSETTINGS_SITENAME", case.settings.site_name.clone()),
            ("MM_LOCALIZATIONSETTINGS_DEFAULTSERVERLOCALE", case.settings.language.clone()),
            ("MM_LOCALIZATIONSETTINGS_DEFAULTCLIENTLOCALE", case.settings.language.clone()),
            ("MM_CALLS_TURN_CREDENTIALS_EXPIRATION_MINUTES", case.settings.turn.credentials_minutes.to_string()),
        ] {
            assert_eq!(case.variable(variable), expected, "{}: {variable}", case.name);
        }
    }
}

/// Of every variable, as a real server listed them.
fn variable_types() -> BTreeMap<String, String> {
    let path = checkout().join("tests/contract/mattermost-11.6/settings.tsv");
    let text = std::fs::read_to_string(path).expect("the contract is in the checkout");
    let row = |line: &str| {
        let mut fields = line.split('\t').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    text.lines().skip(1).filter_map(row).collect()
}
