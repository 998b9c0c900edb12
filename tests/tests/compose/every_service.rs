//! What holds for each container, so that a service that somebody adds has it too.

use serde_yaml::Value;

use crate::{cases, texts};

/// A process that breaks out of its server must not become more than it was.
#[test]
fn no_service_can_gain_privileges() {
    for case in cases() {
        for (name, service) in case.services() {
            assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{}: {name}", case.name);
            assert!(service["privileged"].is_null(), "{}: {name}", case.name);
            for shared in ["pid", "ipc", "uts", "userns_mode", "devices", "cgroup_parent"] {
                assert!(service[shared].is_null(), "{}: {name} has {shared}", case.name);
            }
        }
    }
}

/// `install` changes owners; coturn's official binary carries a file capability and does not start without it.
#[test]
fn every_capability_is_dropped_and_few_come_back() {
    for case in cases() {
        for (name, service) in case.services() {
            assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{}: {name}", case.name);
            let expected: &[&str] = match name {
                "install" => &["CHOWN", "DAC_OVERRIDE", "FOWNER"],
                "coturn" => &["NET_BIND_SERVICE"],
                _ => &[],
            };
            assert_eq!(texts(&service["cap_add"]), expected, "{}: {name}", case.name);
        }
    }
}

/// One server that leaks must not take the host's memory or process table from the others.
#[test]
fn memory_and_processes_are_limited() {
    for case in cases() {
        for (name, service) in case.services() {
            let limit = match name {
                "mattermost" => Some(&case.settings.limits.mattermost),
                "postgres" => Some(&case.settings.limits.postgres),
                "coturn" => Some(&case.settings.limits.coturn),
                "relay" => Some(&case.settings.limits.relay),
                _ => None,
            };
            assert!(service["mem_limit"].is_string() && service["pids_limit"].is_u64(), "{}: {name}", case.name);
            if let Some(limit) = limit {
                assert_eq!(service["mem_limit"], limit.memory.as_str(), "{}: {name}", case.name);
                assert_eq!(service["pids_limit"], u64::from(limit.pids), "{}: {name}", case.name);
            }
        }
    }
}

/// Docker's default keeps every line for ever.
#[test]
fn logs_are_bounded() {
    for case in cases() {
        for (name, service) in case.services() {
            let options = &service["logging"]["options"];
            assert!(options["max-size"].is_string() && options["max-file"].is_string(), "{}: {name}", case.name);
        }
    }
}

/// `up --wait` waits for health; without a check a server that hangs counts as up. The one-shot counts when it has exited.
#[test]
fn every_server_has_a_health_check_and_the_one_shot_none() {
    for case in cases() {
        for (name, service) in case.services() {
            let check = &service["healthcheck"];
            if name == "install" {
                assert!(check.is_null(), "{}", case.name);
                continue;
            }
            assert!(check["disable"].is_null() && check["start_period"].is_string(), "{}: {name}", case.name);
            assert!(check["timeout"].is_string(), "{}: {name}", case.name);
        }
    }
}

/// The host reboots; the one-shot, run again for ever, would never be done.
#[test]
fn servers_come_back_and_the_one_shot_does_not() {
    for case in cases() {
        for (name, service) in case.services() {
            let expected = if name == "install" { "no" } else { "unless-stopped" };
            assert_eq!(service["restart"], expected, "{}: {name}", case.name);
        }
    }
}

/// Servers read what `install` has put into the volumes, so none may start before it is done.
#[test]
fn every_server_waits_for_the_one_shot() {
    for case in cases() {
        for (name, service) in case.services().into_iter().filter(|(name, _)| *name != "install") {
            let condition = &service["depends_on"]["install"]["condition"];
            assert_eq!(condition, "service_completed_successfully", "{}: {name}", case.name);
        }
        if case.settings.external_postgres().is_none() {
            let condition = &case.service("mattermost")["depends_on"]["postgres"]["condition"];
            assert_eq!(condition, "service_healthy", "{}", case.name);
        }
    }
}

/// The one-shot is root with three capabilities: it gets no network, and nothing of the host to write to.
#[test]
fn the_one_shot_has_no_network() {
    for case in cases() {
        let install = case.service("install");
        assert_eq!(install["network_mode"], "none", "{}", case.name);
        assert_eq!(install["read_only"], true, "{}", case.name);
        let images = xtask::images::pinned().expect("the images are pinned");
        assert_eq!(install["image"], images.postgres, "{}: no image of its own", case.name);
    }
}

/// A container must not change the host's files, SELinux must let it read them, and a missing file must not become a folder of
/// root's.
#[test]
fn host_folders_are_mounted_read_only_and_labelled_for_selinux() {
    let mut binds = 0;
    for case in cases() {
        for (name, service) in case.services() {
            for mount in service["volumes"].as_sequence().map(Vec::as_slice).unwrap_or_default() {
                if let Some(short) = mount.as_str() {
                    let (source, _) = short.split_once(':').expect("a short mount has a target");
                    assert!(!source.contains(['/', '.', '~']), "{}: {name}: {short} is a bind mount", case.name);
                    continue;
                }
                if mount["type"] == "volume" {
                    continue;
                }
                assert_eq!(mount["type"], "bind", "{}: {name}", case.name);
                let source = mount["source"].as_str().expect("a bind mount has a source");
                assert!(source.starts_with("../certs/") || source.starts_with("../env/"), "{}: {source}", case.name);
                assert!(!source.contains("ca.key") && source != "../certs" && source != "../env", "{source}");
                assert_eq!(mount["read_only"], true, "{}: {name}: {source}", case.name);
                assert_eq!(mount["bind"]["selinux"], "z", "{}: {name}: {source}", case.name);
                assert_eq!(mount["bind"]["create_host_path"], false, "{}: {name}: {source}", case.name);
                binds += 1;
            }
        }
    }
    assert!(binds > 0, "the invariant is about something");
}

/// The official images run as these; another one could not read what `install` has put there for it.
#[test]
fn every_server_runs_as_a_user_of_its_own() {
    for case in cases() {
        for (name, service) in case.services() {
            let expected = match name {
                "install" => "0:0",
                "postgres" => "999:999",
                "mattermost" => "2000:2000",
                "coturn" => "65534:65534",
                "relay" => "10001:10001",
                other => panic!("no test knows the user of {other}"),
            };
            assert_eq!(service["user"], expected, "{}: {name}", case.name);
        }
    }
}

/// An older Compose refuses a newer key, or worse, passes over it.
#[test]
fn nothing_is_newer_than_compose_2_24() {
    const NEWER: &[&str] =
        &["format", "post_start", "pre_stop", "models", "provider", "gpus", "use_api_socket", "label_file"];
    for case in cases() {
        let mut keys = Vec::new();
        every_key(&case.compose, &mut keys);
        let newer: Vec<_> = keys.iter().filter(|key| NEWER.contains(&key.as_str())).collect();
        assert!(newer.is_empty(), "{}: {newer:?}", case.name);
        assert!(keys.contains(&"healthcheck".to_owned()), "the walk finds keys");
    }
}

fn every_key(value: &Value, keys: &mut Vec<String>) {
    if let Some(mapping) = value.as_mapping() {
        for (key, value) in mapping {
            keys.extend(key.as_str().map(str::to_owned));
            every_key(value, keys);
        }
    }
    for value in value.as_sequence().map(Vec::as_slice).unwrap_or_default() {
        every_key(value, keys);
    }
}

/// A volume that is used and not declared stops Compose; one that is declared and not used is left from something.
#[test]
fn declared_volumes_are_the_used_ones() {
    for case in cases() {
        let declared = case.compose["volumes"].as_mapping().expect("volumes are declared");
        let declared: Vec<_> = declared.keys().filter_map(Value::as_str).map(str::to_owned).collect();
        let mut used: Vec<String> = Vec::new();
        for (_, service) in case.services() {
            for mount in service["volumes"].as_sequence().map(Vec::as_slice).unwrap_or_default() {
                if let Some((source, _)) = mount.as_str().and_then(|mount| mount.split_once(':')) {
                    used.push(source.to_owned());
                } else if mount["type"] == "volume" {
                    used.extend(mount["source"].as_str().map(str::to_owned));
                }
            }
        }
        used.sort();
        used.dedup();
        let mut sorted = declared;
        sorted.sort();
        assert_eq!(sorted, used, "{}", case.name);
    }
}
