//! The harness's browser shows what a phone would: other tests look at pages through it.

use std::time::Duration;

use command_center_tests::{Browser, browser};
use serde_json::json;

const PAGE: &str = "data:text/html,<meta name=viewport content='width=device-width'>\
                    <p id=said>no</p><button onclick='said.textContent=`yes`'>Say</button>";

const LOOK: &str = "return { width: innerWidth, scale: devicePixelRatio, touch: navigator.maxTouchPoints, \
                    agent: navigator.userAgent, dark: matchMedia('(prefers-color-scheme: dark)').matches, \
                    said: document.querySelector('#said').textContent };";

#[test]
fn a_browser_is_a_phone_or_a_desktop() {
    let browser = Browser::start("e2e-browser", "bridge", None);
    let look = || browser.script(LOOK, &[], Duration::from_secs(5));
    for (agent, scheme) in [(browser::IPHONE, "dark"), (browser::ANDROID, "light")] {
        browser.phone(agent);
        browser.color_scheme(scheme);
        browser.open(PAGE);
        browser.click("button");
        let dark = scheme == "dark";
        let expected = json!({ "width": 390, "scale": 2, "touch": 5, "agent": agent, "dark": dark, "said": "yes" });
        assert_eq!(look(), expected);
    }
    let picture = std::fs::read(browser.screenshot("e2e-browser-phone")).expect("the file is there");
    assert_eq!(size(&picture), (780, 1688), "a PNG of the whole screen");
    browser.window(1280, 800);
    browser.open(PAGE);
    assert_eq!(look()["width"], 1280);

    // What goes wrong in the page is the error.
    let late = browser.try_script("await new Promise(() => {});", &[], Duration::from_millis(200));
    assert!(late.expect_err("it never returns").to_string().contains("timeout"));
    let thrown = browser.try_script("throw new Error('broken');", &[], Duration::from_secs(5));
    assert!(thrown.expect_err("it throws").to_string().contains("broken"));
    let refused = browser.try_open("http://127.0.0.1:9516/").expect_err("nothing listens");
    assert!(refused.to_string().contains("ERR_CONNECTION_REFUSED"), "{refused:#}");
}

/// Width and height, which follow the signature and the first chunk's name.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "no PNG");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}
