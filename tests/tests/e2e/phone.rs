//! The page of `cargo xtask phone` in a real browser of a phone's size, before and after it trusts our CA. The pictures are in
//! target/artefacts/.

use std::time::{Duration, Instant};

use command_center_tests::run::{Started, start};
use command_center_tests::{Browser, Stack, browser};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

/// What the page looks like, and everything that it asked for.
const LOOK: &str = "return {
    title: document.title,
    first: document.querySelector('details[open]')?.id ?? document.querySelector('h3')?.textContent,
    sideways: document.documentElement.scrollWidth > innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    bytes: new Blob([document.documentElement.outerHTML]).size,
    requests: performance.getEntriesByType('resource').map((entry) => entry.name),
};";

#[test]
fn the_phone_page_works_in_a_real_browser() {
    let stack = Stack::new("phone");
    stack.up();
    let url = format!("http://{}:{}/", stack.lan(), stack.inner().settings.ports.phone);
    let mut serving = Serving(start(&mut stack.command(&["phone", "--minutes", "5"]), ""));
    serving.until_it_says("Serving for 5 minutes");

    let stranger = Browser::start("e2e-phone-stranger", "bridge", None);
    let mut backgrounds = Vec::new();
    for (agent, system, scheme) in [(browser::IPHONE, "ios", "light"), (browser::ANDROID, "android", "dark")] {
        stranger.phone(agent);
        stranger.color_scheme(scheme);
        stranger.open(&url);
        let look = stranger.script(LOOK, &[], LIMIT);
        assert_eq!(look["sideways"], false, "it fits a phone: {look}");
        assert_eq!(look["requests"], json!([]), "one request: {look}");
        assert!(look["bytes"].as_u64().is_some_and(|bytes| bytes < 60_000), "{look}");
        backgrounds.push(look["background"].clone());
        stranger.screenshot(&format!("phone-{system}-{scheme}"));
        stranger.click("#try");
        assert!(result(&stranger).starts_with("Not yet"), "without the CA: {}", result(&stranger));
    }
    assert_ne!(backgrounds[0], backgrounds[1], "dark differs from light");
    // A screen as narrow as they come.
    stranger.window(320, 640);
    stranger.open(&url);
    assert_eq!(stranger.script(LOOK, &[], LIMIT)["sideways"], false);
    drop(stranger);

    let enrolled = Browser::start("e2e-phone-enrolled", "bridge", Some(&stack.ca()));
    enrolled.phone(browser::IPHONE);
    enrolled.open(&url);
    enrolled.click("#try");
    assert!(result(&enrolled).starts_with("Trusted"), "with the CA: {}", result(&enrolled));
    enrolled.screenshot("phone-trusted");
    let server = enrolled.script("return document.querySelector('#server').value;", &[], LIMIT);
    let address = format!("https://{}", stack.address());
    assert_eq!(server, Value::from(address.as_str()), "what has to be typed into the app");
    enrolled.open(&format!("{address}/api/v4/system/ping"));
    serving.until_it_says("iPhone");
}

/// What the check said in the end.
fn result(browser: &Browser) -> String {
    const WAIT: &str = "const result = document.querySelector('#result');
        while (!result.textContent || result.textContent.startsWith('Checking')) await new Promise((done) => setTimeout(done, 50));
        return result.textContent;";
    browser.script(WAIT, &[], LIMIT).as_str().expect("a text").to_owned()
}

/// `phone` while it serves. It ends with the test, however that ends.
struct Serving(Started);

impl Serving {
    fn until_it_says(&mut self, text: &str) {
        let end = Instant::now() + LIMIT;
        while !self.0.stdout().contains(text) {
            assert!(Instant::now() < end, "{text:?} was not said: {}{}", self.0.stdout(), self.0.stderr());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill();
    }
}
