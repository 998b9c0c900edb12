//! The page: what it says to whom, that it needs nothing from outside, and that nobody can write into it.

use std::net::Ipv4Addr;

use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use xtask::phone::{Ca, SYSTEMS, System, page};

use crate::{
    ANDROID, CHROMEBOOK, FIREFOX_ON_ANDROID, FIREFOX_ON_LINUX, HOSTILE, IPAD_AS_A_MAC, IPHONE, MAC, OLD_IPAD, WINDOWS,
    authority, settings, settings_named,
};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);

fn rendered(ca: &Ca, system: System) -> String {
    let body = page::render(&settings(), ca, ADDRESS, system).expect("it renders");
    // A slash is escaped in what comes from settings, which means the same.
    String::from_utf8(body.bytes).expect("a page is text").replace("&#x2f;", "/")
}

#[test]
fn browsers_tell_which_system_they_are_on() {
    for (user_agent, system) in [
        (IPHONE, System::Ios),
        (OLD_IPAD, System::Ios),
        (ANDROID, System::Android),
        (FIREFOX_ON_ANDROID, System::Android),
        (WINDOWS, System::Windows),
        (MAC, System::Macos),
        (IPAD_AS_A_MAC, System::Macos),
        (FIREFOX_ON_LINUX, System::Linux),
        (CHROMEBOOK, System::Other),
        ("curl/8.5.0", System::Other),
        ("", System::Other),
    ] {
        assert_eq!(System::of(user_agent), system, "{user_agent:?}");
    }
}

/// The visitor's own steps are open and come first; everybody else's are folded away, and none is missing.
#[test]
fn each_system_has_its_own_steps_first() {
    let ca = authority().ca;
    let titles = ["iPhone and iPad", "Android", "Windows", "Mac", "Linux", "Firefox on a computer"];
    for (system, title) in SYSTEMS.iter().zip(titles) {
        let page = rendered(&ca, *system);
        let heading = format!("<h3>{title}</h3>");
        let (before, after) = page.split_once(&heading).unwrap_or_else(|| {
            assert_eq!(*system, System::Other, "the page has no {heading}");
            page.split_once("<p>Choose your system.</p>").expect("whoever is not known chooses")
        });
        assert!(!before.contains("<details"), "{system}: its own steps come first");
        for other in titles.iter().filter(|other| *system == System::Other || **other != title) {
            assert!(after.contains(&format!("<summary>{other}</summary>")), "{system}: {other} is missing");
        }
        assert_eq!(page.matches("<ol>").count(), titles.len(), "{system}: each system's steps are there once");
    }
}

/// What people do not find by themselves, and without which the app just says that it cannot connect.
#[test]
fn the_steps_name_what_is_easily_missed() {
    let authority = authority();
    let page = rendered(&authority.ca, System::Ios);
    for words in [
        "in <b>Safari</b>",
        "Profile Downloaded",
        "Certificate Trust Settings",
        "switch on full trust",
        "Local Network",
        "version 2.41 or later",
        "CA certificate",
        "screen lock",
        "could be forged",
        "https://192.168.1.10:8065",
        &authority.ca.name,
    ] {
        assert!(page.contains(words), "the page does not say {words:?}");
    }
    for line in authority.ca.fingerprint_lines() {
        assert!(page.contains(&format!("<li>{line}</li>")), "the fingerprint's {line} is missing");
    }
    let whole = authority.ca.fingerprint_lines().join(" ").replace(' ', ":");
    assert_eq!(whole, xtask::certs::fingerprint(&authority.pem).expect("a certificate"));
}

/// A phone that has no way out must see the same page, in one request.
#[test]
fn the_page_needs_nothing_from_outside_and_is_small() {
    let ca = authority().ca;
    for system in SYSTEMS {
        let page = rendered(&ca, system);
        assert!(page.starts_with("<!doctype html>"), "{system}: anything before it would be quirks mode");
        assert!(page.len() < 60_000, "{system}: {} bytes", page.len());
        for word in [" src=", "srcset", "url(", "@import", "<img", "<iframe", "<object", "<base", "import(", "http://"]
        {
            assert!(!page.contains(word), "{system}: the page has {word:?}");
        }
        let own = ["data:,", "/ca.crt", "/ca.pem", "/ca.mobileconfig", "https://192.168.1.10:8065"];
        for target in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(own.contains(&target), "{system}: the page refers to {target:?}");
        }
        assert_eq!(page.matches("<link").count(), 1, "{system}: the icon that keeps browsers from asking for one");
    }
}

/// The policy allows the style and the script that are in the page, to the byte, or the browser would drop them.
#[test]
fn the_policy_allows_just_what_the_page_holds() {
    let ca = authority().ca;
    let body = page::render(&settings(), &ca, ADDRESS, System::Android).expect("it renders");
    let page = String::from_utf8(body.bytes).expect("a page is text");
    let hash = |element: &str| {
        assert_eq!(page.matches(&format!("<{element}")).count(), 1, "there is one {element}");
        let (_, rest) = page.split_once(&format!("<{element}>")).expect("it has no attributes");
        let (text, _) = rest.split_once(&format!("</{element}>")).expect("it ends");
        base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text))
    };
    assert_eq!(
        body.content_security_policy,
        format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; \
             connect-src https://192.168.1.10:8065; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash("style"),
            hash("script")
        )
    );
    for inline in [" style=", " onclick=", " onload=", "javascript:"] {
        assert!(!page.contains(inline), "the policy would drop {inline:?}");
    }
}

/// site_name is the user's own text, and the CA's name can come from anywhere when it was imported.
#[test]
fn a_hostile_name_stays_text() {
    let mut ca = authority().ca;
    let plain = page::render(&settings(), &ca, ADDRESS, System::Ios).expect("it renders");
    ca.name = HOSTILE.to_owned();
    let body = page::render(&settings_named(HOSTILE), &ca, ADDRESS, System::Ios).expect("it renders");
    let page = String::from_utf8(body.bytes).expect("a page is text");
    assert_eq!(page.matches("<script").count(), 1, "the page's own alone");
    assert!(!page.contains(HOSTILE) && !page.contains("</b><script>"));
    assert!(page.contains("&lt;script&gt;x()&lt;"), "it is shown as it is");
    assert_eq!(body.content_security_policy, plain.content_security_policy);
}
