//! Values of the right type that cannot work.

use expect_test::expect;

use crate::{check, check_text, common};

#[test]
fn a_port_used_twice_is_refused() {
    check(
        "metrics = 8067",
        "metrics = 8065",
        expect![[r#"
        stack.toml:30: ports.metrics: 8065 is already ports.mattermost
        hint: give each service a port of its own"#]],
    );
}

#[test]
fn a_privileged_port_is_refused() {
    check(
        "mattermost = 8065",
        "mattermost = 443",
        expect![[r#"
        stack.toml:26: ports.mattermost: 443 is a privileged port
        hint: use a port from 1024 to 65535: nothing here runs with privileges"#]],
    );
}

#[test]
fn a_call_port_that_the_plugin_does_not_take_is_refused() {
    check(
        "calls = 8444",
        "calls = 50000",
        expect![[r#"
        stack.toml:28: ports.calls: 50000 is above 49151
        hint: the Calls plugin takes ports from 80 to 49151"#]],
    );
}

#[test]
fn a_relay_range_over_another_port_is_refused() {
    check(
        "turn_relay_first = 49160",
        "turn_relay_first = 3000",
        expect![[r#"
            stack.toml:36: ports.turn_relay_first: the relay range 3000-49559 covers ports.mattermost, 8065
            hint: move the range, for example to 49160-49559"#]],
    );
}

#[test]
fn a_relay_range_that_ends_before_it_begins_is_refused() {
    check(
        "turn_relay_last = 49559",
        "turn_relay_last = 49159",
        expect![[r#"
            stack.toml:37: ports.turn_relay_last: 49159 is below ports.turn_relay_first, 49160
            hint: the range runs from first to last"#]],
    );
}

#[test]
fn a_domain_that_is_no_dns_name_is_refused() {
    check(
        "domain = \"cicd.local\"",
        "domain = \"CICD_local\"",
        expect![[r#"
        stack.toml:8: domain: "CICD_local" is no DNS domain
        hint: use labels of lower-case letters, digits and dashes, such as "cicd.local""#]],
    );
}

#[test]
fn an_address_in_place_of_a_domain_is_refused() {
    check(
        "domain = \"cicd.local\"",
        "domain = \"192.168.1.10\"",
        expect![[r#"
        stack.toml:8: domain: "192.168.1.10" is no DNS domain
        hint: use labels of lower-case letters, digits and dashes, such as "cicd.local""#]],
    );
}

#[test]
fn a_project_name_that_compose_refuses_is_refused() {
    check(
        "name = \"command-center\"",
        "name = \"Command Center\"",
        expect![[r#"
        stack.toml:5: name: "Command Center" is no Compose project name
        hint: use lower-case letters, digits and dashes, such as "command-center""#]],
    );
}

#[test]
fn a_site_name_that_is_too_long_is_refused() {
    check(
        "site_name = \"Command Center\"",
        "site_name = \"1234567890123456789012345678901\"",
        expect![[r#"
        stack.toml:10: site_name: has 31 characters on one line
        hint: use 1 to 30 characters"#]],
    );
}

#[test]
fn a_language_that_mattermost_does_not_ship_is_refused() {
    check(
        "language = \"en\"",
        "language = \"tlh\"",
        expect![[r#"
        stack.toml:12: language: "tlh" is no language of Mattermost
        hint: use one of bg, cs, de, en, en-AU, es, fa, fr, hu, it, ja, ko, nl, pl, pt-BR, ro, ru, sv, tr, uk, vi, zh-CN, zh-TW"#]],
    );
}

#[test]
fn a_subnet_that_is_none_is_refused() {
    check(
        "subnet = \"172.30.0.0/24\"",
        "subnet = \"172.30.0.0\"",
        expect![[r#"
            stack.toml:43: network.subnet: "172.30.0.0" is no network; use one such as "172.30.0.0/24"
            hint: mend line 43: subnet = "172.30.0.0""#]],
    );
}

#[test]
fn a_subnet_with_host_bits_is_refused() {
    check(
        "subnet = \"172.30.0.0/24\"",
        "subnet = \"172.30.0.1/24\"",
        expect![[r#"
            stack.toml:43: network.subnet: "172.30.0.1/24" is no network; use one such as "172.30.0.0/24"
            hint: mend line 43: subnet = "172.30.0.1/24""#]],
    );
}

#[test]
fn a_public_subnet_is_refused() {
    check(
        "subnet = \"172.30.0.0/24\"",
        "subnet = \"8.8.8.0/24\"",
        expect![[r#"
            stack.toml:43: network.subnet: 8.8.8.0/24 is not private
            hint: use a private range, such as "172.30.0.0/24""#]],
    );
}

#[test]
fn a_subnet_that_is_too_large_is_refused() {
    check(
        "subnet = \"172.30.0.0/24\"",
        "subnet = \"10.0.0.0/8\"",
        expect![[r#"
            stack.toml:43: network.subnet: 10.0.0.0/8 has the prefix /8
            hint: use a prefix from /16 to /28: all containers must fit, and nothing else should be covered"#]],
    );
}

#[test]
fn an_address_outside_of_the_subnet_is_refused() {
    check(
        "mattermost_address = \"172.30.0.10\"",
        "mattermost_address = \"172.30.1.10\"",
        expect![[r#"
            stack.toml:45: network.mattermost_address: 172.30.1.10 is no host address of 172.30.0.0/24
            hint: use an address such as 172.30.0.10"#]],
    );
}

#[test]
fn the_gateways_address_is_refused() {
    check(
        "mattermost_address = \"172.30.0.10\"",
        "mattermost_address = \"172.30.0.1\"",
        expect![[r#"
            stack.toml:45: network.mattermost_address: 172.30.0.1 is the network's gateway
            hint: use an address such as 172.30.0.10"#]],
    );
}

#[test]
fn the_broadcast_address_is_refused() {
    check(
        "mattermost_address = \"172.30.0.10\"",
        "mattermost_address = \"172.30.0.255\"",
        expect![[r#"
            stack.toml:45: network.mattermost_address: 172.30.0.255 is no host address of 172.30.0.0/24
            hint: use an address such as 172.30.0.10"#]],
    );
}

#[test]
fn an_empty_list_of_addresses_is_refused() {
    check(
        "addresses = \"auto\"",
        "addresses = []",
        expect![[r#"
        stack.toml:17: lan.addresses: is an empty list
        hint: name at least one address, or use "auto""#]],
    );
}

#[test]
fn an_address_that_is_listed_twice_is_refused() {
    check(
        "addresses = \"auto\"",
        "addresses = [\"192.168.1.10\", \"192.168.1.10\"]",
        expect![[r#"
        stack.toml:17: lan.addresses: 192.168.1.10 is listed twice
        hint: list each address once"#]],
    );
}

#[test]
fn an_administrator_that_mattermost_refuses_is_refused() {
    check(
        "name = \"admin\"",
        "name = \"Admin\"",
        expect![[r#"
        stack.toml:21: administrator.name: "Admin" is no user name of Mattermost
        hint: use 3 to 22 lower-case letters, digits, dots, dashes and underscores, beginning with a letter"#]],
    );
}

#[test]
fn an_email_that_is_none_is_refused() {
    check(
        "email = \"admin@cicd.local\"",
        "email = \"admin\"",
        expect![[r#"
        stack.toml:22: administrator.email: "admin" is no e-mail address
        hint: use an address such as "admin@cicd.local"; nothing is sent to it"#]],
    );
}

#[test]
fn more_allocations_than_ports_are_refused() {
    check(
        "total_quota = 400",
        "total_quota = 401",
        expect![[r#"
            stack.toml:50: turn.total_quota: 401 allocations, but the relay range has 400 ports
            hint: use 1 to 400, or widen ports.turn_relay_last"#]],
    );
}

#[test]
fn a_user_quota_above_the_total_one_is_refused() {
    check(
        "user_quota = 24",
        "user_quota = 500",
        expect![[r#"
            stack.toml:49: turn.user_quota: 500 does not fit turn.total_quota, 400
            hint: 12 is what one phone on two networks can need"#]],
    );
}

#[test]
fn credentials_that_the_plugin_does_not_make_are_refused() {
    check(
        "credentials_minutes = 240",
        "credentials_minutes = 10081",
        expect![[r#"
            stack.toml:52: turn.credentials_minutes: 10081 minutes
            hint: use 5 minutes to a week (10080)"#]],
    );
}

#[test]
fn local_mode_cannot_be_switched_off() {
    check(
        "local_mode = true",
        "local_mode = false",
        expect![[r#"
            stack.toml:66: mattermost.local_mode: the health check, mmctl and `cargo xtask` all use the local socket
            hint: leave it true; the socket is only reachable inside the container"#]],
    );
}

#[test]
fn a_subnet_among_the_internal_hosts_is_refused() {
    check(
        "\"jenkins.cicd.local\"",
        "\"10.0.0.0/8\"",
        expect![[r#"
            stack.toml:95: mattermost.allowed_internal_hosts: "10.0.0.0/8" is no host
            hint: list host names or addresses, one each; a subnet would open the whole LAN to whoever can make a webhook"#]],
    );
}

#[test]
fn a_line_break_in_the_banner_is_refused() {
    check(
        "text = \"\"",
        "text = \"one\\ntwo\"",
        expect![[r#"
            stack.toml:100: mattermost.banner.text: has a line break or control character
            hint: use one line"#]],
    );
}

#[test]
fn a_banner_that_is_on_and_empty_is_refused() {
    check(
        "enabled = false",
        "enabled = true",
        expect![[r#"
            stack.toml:100: mattermost.banner.text: the banner is on and says nothing
            hint: say something, or switch it off"#]],
    );
}

#[test]
fn a_colour_that_is_none_is_refused() {
    check(
        "color = \"#f2a93b\"",
        "color = \"orange\"",
        expect![[r#"
            stack.toml:101: mattermost.banner.color: "orange" is no colour
            hint: use # and six hexadecimal digits"#]],
    );
}

#[test]
fn memory_that_docker_does_not_read_is_refused() {
    check(
        "memory = \"4g\"",
        "memory = \"4 GiB\"",
        expect![[r#"
            stack.toml:162: limits.mattermost.memory: "4 GiB" is no amount of memory
            hint: use a number and m or g, such as "512m""#]],
    );
}

#[test]
fn too_few_processes_are_refused() {
    check(
        "pids = 300",
        "pids = 10",
        expect![[r#"
            stack.toml:167: limits.postgres.pids: 10 is too few to start with
            hint: use 50 or more"#]],
    );
}

#[test]
fn a_team_that_is_there_twice_is_refused() {
    let team = "[[teams]]\nname = \"a\"\ndisplay_name = \"A\"\npeople = []\nchannels = []\n";
    check_text(
        &format!("{}\n{team}{team}", common::shipped()),
        expect![[r#"
            stack.toml:288: teams.1.name: "a" is no team name, or is there twice
            hint: use lower-case letters, digits and dashes, each name once"#]],
    );
}
