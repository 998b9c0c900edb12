//! The iOS profile, held to the keys that Apple documents.

use std::collections::BTreeSet;

use plist::{Dictionary, Value};
use xtask::phone::profile;

use crate::{HOSTILE, authority, settings, settings_named};

/// A key as Apple documents it: its name, the type of its value, whether it has to be there, and what it says of it.
struct Key {
    name: &'static str,
    kind: &'static str,
    required: bool,
    #[allow(dead_code, reason = "it is here for whoever reads the list")]
    quoted: &'static str,
}

const fn key(name: &'static str, kind: &'static str, required: bool, quoted: &'static str) -> Key {
    Key { name, kind, required, quoted }
}

/// <https://developer.apple.com/documentation/devicemanagement/toplevel>, quoted from Apple's own schema, which is
/// mdm/profiles/TopLevel.yaml of github.com/apple/device-management at 0340fd30e0bf. Keys of other purposes are left out.
const TOP_LEVEL: &[Key] = &[
    key(
        "PayloadIdentifier",
        "string",
        true,
        "This string is used to determine whether a new profile should replace an existing one or should be added.",
    ),
    key("PayloadUUID", "string", true, "The globally unique identifier for the profile."),
    key("PayloadType", "string", true, "The only supported value is 'Configuration'."),
    key("PayloadVersion", "integer", true, "The version number of the profile format. … The value should be 1."),
    key("PayloadContent", "array", true, "The array of payload dictionaries."),
    key(
        "PayloadDescription",
        "string",
        false,
        "… detailed enough to help the user decide whether to install the profile.",
    ),
    key(
        "PayloadDisplayName",
        "string",
        false,
        "This value is displayed on the Detail screen. It doesn't have to be unique.",
    ),
    key("PayloadOrganization", "string", false, "… the name of the organization that provided the profile."),
    key(
        "PayloadRemovalDisallowed",
        "boolean",
        false,
        "If present and set to 'true', the user can't delete the profile …",
    ),
];

/// <https://developer.apple.com/documentation/devicemanagement/certificateroot>, and the keys that are common to all payloads:
/// com.apple.security.root.yaml and CommonPayloadKeys.yaml at 0a4527c5ea21.
const CERTIFICATE_ROOT: &[Key] = &[
    key("PayloadCertificateFileName", "string", false, "The file name of the enclosed certificate."),
    key("PayloadContent", "data", true, "The binary representation of the payload encoded in base64."),
    key("PayloadIdentifier", "string", true, "This string must be unique within the profile."),
    key("PayloadUUID", "string", true, "The globally unique identifier for the payload."),
    key("PayloadType", "string", true, "The payload type, which each payload domain's reference page specifies."),
    key("PayloadVersion", "integer", true, "The version of this specific payload."),
    key("PayloadDisplayName", "string", false, "The name appears on the Detail screen and doesn't need to be unique."),
];

fn parsed(text: &str) -> Dictionary {
    let value = Value::from_reader_xml(text.as_bytes()).expect("the profile is a property list");
    value.into_dictionary().expect("its root is a dictionary")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Integer(_) => "integer",
        Value::Boolean(_) => "boolean",
        Value::Array(_) => "array",
        Value::Data(_) => "data",
        _ => "another type",
    }
}

fn hold_to(documented: &[Key], dictionary: &Dictionary) {
    for (name, value) in dictionary {
        let key = documented.iter().find(|key| key.name == name);
        let key = key.unwrap_or_else(|| panic!("{name} is not documented for this dictionary"));
        assert_eq!(kind(value), key.kind, "{name}");
    }
    for key in documented.iter().filter(|key| key.required) {
        assert!(dictionary.contains_key(key.name), "{} is required", key.name);
    }
}

fn text<'a>(dictionary: &'a Dictionary, key: &str) -> &'a str {
    dictionary.get(key).and_then(Value::as_string).unwrap_or_else(|| panic!("{key} is a string"))
}

/// The one payload of a profile.
fn payload(profile: &Dictionary) -> &Dictionary {
    let payloads = profile.get("PayloadContent").and_then(Value::as_array).expect("payloads");
    assert_eq!(payloads.len(), 1, "the certificate and nothing else");
    payloads[0].as_dictionary().expect("a payload is a dictionary")
}

#[test]
fn the_profile_has_documented_keys_only_and_holds_the_ca() {
    let ca = authority().ca;
    let xml = profile::render(&settings(), &ca).expect("it renders");
    let (_, data) = xml.split_once("<data>").expect("there is data");
    assert!(!data.split('<').next().expect("it ends").contains('&'), "base64 is plain, as any reader expects it");
    let profile = parsed(&xml);
    let payload = payload(&profile);
    hold_to(TOP_LEVEL, &profile);
    hold_to(CERTIFICATE_ROOT, payload);
    assert_eq!(text(&profile, "PayloadType"), "Configuration");
    assert_eq!(text(payload, "PayloadType"), "com.apple.security.root");
    for dictionary in [&profile, payload] {
        assert_eq!(dictionary.get("PayloadVersion").and_then(Value::as_signed_integer), Some(1));
    }
    assert_eq!(profile.get("PayloadRemovalDisallowed").and_then(Value::as_boolean), Some(false));
    assert_eq!(payload.get("PayloadContent").and_then(Value::as_data), Some(ca.der.as_slice()), "byte for byte");
    assert_eq!(text(&profile, "PayloadIdentifier"), "local.cicd.command-center");
    assert_eq!(text(payload, "PayloadIdentifier"), "local.cicd.command-center.root");
    assert_eq!(text(payload, "PayloadDisplayName"), ca.name, "by this name the user finds the trust switch");
}

/// "During a profile replacement, the system updates payloads with the same PayloadIdentifier and PayloadUUID" (Apple). A new CA
/// takes the old profile's place, and its payload is another one.
#[test]
fn a_second_visit_replaces_the_profile() {
    let first = authority().ca;
    let render = |ca| profile::render(&settings(), ca).expect("it renders");
    assert_eq!(render(&first), render(&first), "not even a UUID differs");
    let (old, new) = (parsed(&render(&first)), parsed(&render(&authority().ca)));
    assert_eq!(text(&old, "PayloadIdentifier"), text(&new, "PayloadIdentifier"));
    let uuids: BTreeSet<&str> =
        [&old, payload(&old), &new, payload(&new)].iter().map(|dictionary| text(dictionary, "PayloadUUID")).collect();
    assert_eq!(uuids.len(), 4, "each has its own");
    for uuid in uuids {
        let groups: Vec<&str> = uuid.split('-').collect();
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{uuid}");
        assert!(groups.concat().chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_lowercase()), "{uuid}");
        assert!(groups[2].starts_with('8') && "89AB".contains(&groups[3][..1]), "{uuid} is of version 8 of RFC 9562");
    }
}

#[test]
fn a_hostile_name_stays_text() {
    let mut ca = authority().ca;
    ca.name = HOSTILE.to_owned();
    let profile = parsed(&profile::render(&settings_named(HOSTILE), &ca).expect("it renders"));
    assert_eq!(text(&profile, "PayloadOrganization"), HOSTILE);
    assert_eq!(text(payload(&profile), "PayloadDisplayName"), HOSTILE);
    hold_to(TOP_LEVEL, &profile);
}
