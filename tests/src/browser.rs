//! A real Chromium in a container of its own, driven by WebDriver. It trusts a CA only by its own store, as on a phone or a
//! desktop: no test tells it to ignore a certificate.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use xtask::recipe::{self, Recipe};

use crate::run::{Ran, docker, run};
use crate::stack::checkout;
use crate::webdriver::Session;

/// It is removed on drop, also when the test panics.
#[derive(Debug)]
pub struct Browser {
    /// The name of its container.
    pub name: String,
    /// Its address on the network that it was started on.
    pub address: IpAddr,
    session: Session,
    _container: Container,
}

/// How long a page may take to load.
const LOAD: Duration = Duration::from_secs(20);

/// Chromium's own sandbox needs privileges that this container has not, and the container is one. Microphone and camera are
/// fakes that beep and need no permission, and sound plays without a click. The rest keeps it from calling home.
const ARGUMENTS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-proxy-server",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
];

impl Browser {
    /// Starts one on a Docker network, trusting `ca` (in PEM) beside the CAs that Chromium has, or nothing else.
    #[track_caller]
    pub fn start(name: &str, network: &str, ca: Option<&str>) -> Browser {
        docker(&["rm", "--force", name]);
        let gateway = "{{(index .IPAM.Config 0).Gateway}}";
        let gateway = docker(&["network", "inspect", "--format", gateway, network]).exits(0).stdout;
        // Whoever speaks to a WebDriver has the browser: only this host may, which has the gateway's address.
        let allowed = format!("--allowed-ips={}", gateway.trim());
        let start = ["run", "--detach", "--rm", "--name", name, "--network", network];
        let limits = ["--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=1g", "--pids-limit=512"];
        // A test that is killed removes nothing: it ends by itself then.
        let driver = ["timeout", "900", "chromedriver", "--port=9515", &allowed];
        docker(&[&start[..], &limits, &[image()], &driver].concat()).exits(0);
        let container = Container(name.to_owned());
        if let Some(ca) = ca {
            let import = "store=sql:$HOME/.pki/nssdb; mkdir -p ~/.pki/nssdb; certutil -d $store -N --empty-password; \
                          certutil -d $store -A -a -n command-center -t C,,";
            let mut command = Command::new("docker");
            run(command.args(["exec", "--interactive", name, "sh", "-ec", import]), ca, LOAD).exits(0);
        }
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = docker(&["inspect", "--format", address, name]).exits(0).stdout;
        let address: IpAddr = address.trim().parse().expect("a container on a network has an address");
        let capabilities = json!({
            "browserName": "chrome",
            "acceptInsecureCerts": false,
            "timeouts": { "pageLoad": LOAD.as_millis() },
            "goog:chromeOptions": { "args": ARGUMENTS },
        });
        let session = Session::start(&format!("http://{address}:9515"), &capabilities);
        let session = session.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        Browser { name: name.to_owned(), address, session, _container: container }
    }

    #[track_caller]
    pub fn open(&self, url: &str) {
        self.try_open(url).unwrap_or_else(|error| panic!("{} cannot open {url}: {error:#}", self.name));
    }

    /// # Errors
    /// Chromium's own, such as `net::ERR_CONNECTION_REFUSED` or `NET::ERR_CERT_AUTHORITY_INVALID`.
    pub fn try_open(&self, url: &str) -> anyhow::Result<()> {
        self.session.post("url", &json!({ "url": url }), LOAD)?;
        // For chromedriver a warning about a certificate is a page like others.
        let warning = "return document.documentURI.startsWith('chrome-error:') ? document.body.innerText : null;";
        let warning = self.try_script(warning, &[], LOAD)?;
        anyhow::ensure!(warning.is_null(), "Chromium shows an error: {}", warning.as_str().unwrap_or_default());
        Ok(())
    }

    /// Runs the body of an asynchronous function in the page; what it returns must be JSON.
    #[track_caller]
    pub fn script(&self, body: &str, arguments: &[Value], limit: Duration) -> Value {
        let result = self.try_script(body, arguments, limit);
        result.unwrap_or_else(|error| panic!("a script in {}: {error:#}", self.name))
    }

    /// # Errors
    /// What the script threw, or that it took longer than `limit`.
    pub fn try_script(&self, body: &str, arguments: &[Value], limit: Duration) -> anyhow::Result<Value> {
        self.session.post("timeouts", &json!({ "script": limit.as_millis() }), Duration::ZERO)?;
        let script = format!("return (async function () {{{body}\n}}).apply(null, arguments);");
        self.session.post("execute/sync", &json!({ "script": script, "args": arguments }), limit)
    }

    /// Clicks the first element that a CSS selector finds, as a person would: it must be there to be seen.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let find = json!({ "using": "css selector", "value": selector });
        let click = || {
            let found = self.session.post("element", &find, Duration::ZERO)?;
            let id = found.as_object().and_then(|found| found.values().next()?.as_str()).unwrap_or_default();
            self.session.post(&format!("element/{id}/click"), &json!({}), LOAD)
        };
        click().map(drop).unwrap_or_else(|error| panic!("cannot click {selector:?} in {}: {error:#}", self.name));
    }

    /// A picture of what the window shows, as target/artefacts/NAME.png.
    #[track_caller]
    pub fn screenshot(&self, name: &str) -> PathBuf {
        self.try_screenshot(name).unwrap_or_else(|error| panic!("no screenshot of {}: {error:#}", self.name))
    }

    fn try_screenshot(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = checkout().join("target/artefacts");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{name}.png"));
        let picture = self.session.get("screenshot")?;
        fs::write(&file, base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap_or_default())?)?;
        Ok(file)
    }

    /// The size of a desktop's window.
    #[track_caller]
    pub fn window(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// A phone's screen of 390 by 844 points, touch, and what it says of itself. It counts from the next page on.
    #[track_caller]
    pub fn phone(&self, user_agent: &str) {
        let metrics = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        self.devtools("Emulation.setTouchEmulationEnabled", &json!({ "enabled": true, "maxTouchPoints": 5 }));
        self.devtools("Emulation.setUserAgentOverride", &json!({ "userAgent": user_agent }));
    }

    /// `dark` or `light`, as the page asks by `prefers-color-scheme`.
    #[track_caller]
    pub fn color_scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// A command of the Chrome DevTools Protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        let result = self.session.post("goog/cdp/execute", &body, Duration::ZERO);
        result.unwrap_or_else(|error| panic!("{command} in {}: {error:#}", self.name))
    }

    /// Runs a program as root in the container, whose network namespace it may change.
    pub fn as_root(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = Command::new("docker");
        command.args(["exec", "--interactive", "--privileged", "--user=root", &self.name]).args(arguments);
        run(&mut command, stdin, LOAD)
    }
}

/// What an iPhone's Safari and an Android's Chrome say of themselves.
pub const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
pub const ANDROID: &str =
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36";

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            match self.try_screenshot(&format!("{}-failed", self.name)) {
                Ok(file) => eprintln!("--- {} showed {}", self.name, file.display()),
                Err(error) => eprintln!("--- {} shows nothing: {error:#}", self.name),
            }
        }
    }
}

/// Removes a container on drop.
#[derive(Debug)]
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}

/// The image, built when it is missing.
fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let base = xtask::lab::base().expect("the base of the lab's images can be built");
        let folder = checkout().join("tests/lab");
        let recipe = Recipe::new("command-center-lab/chromium", &folder, &["chromium"], &base);
        let recipe = recipe.expect("the recipe can be read");
        let missing = xtask::drivers::docker::missing_images(&[&recipe.image]).expect("Docker answers");
        if !missing.is_empty() {
            recipe::build(&recipe, &recipe.folder).expect("Debian has Chromium");
        }
        recipe.image
    })
}
