//! Facts that several checks need, each asked for once, by whoever needs it first.

use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::certs;
use crate::drivers::docker::{self, Container, Inspected};
use crate::drivers::engine::{self, Engine, Unusable};
use crate::drivers::https::{self, Site};
use crate::host::{self, Host};
use crate::secrets::{self, Secrets};
use crate::servers;
use crate::stack::Stack;

/// The stack, and what was found out about its surroundings. An error is kept as its text: the rows that need the fact are left
/// out then, because the row of the fact itself says what is wrong.
#[derive(Debug)]
pub struct Context {
    pub stack: Stack,
    engine: OnceLock<Result<Result<Engine, Unusable>, String>>,
    containers: OnceLock<Result<Vec<Container>, String>>,
    inspected: OnceLock<Vec<Inspected>>,
    host: OnceLock<Result<Host, String>>,
    secrets: OnceLock<Result<Secrets, String>>,
}

impl Context {
    pub fn new(stack: Stack) -> Context {
        Context {
            stack,
            engine: OnceLock::new(),
            containers: OnceLock::new(),
            inspected: OnceLock::new(),
            host: OnceLock::new(),
            secrets: OnceLock::new(),
        }
    }

    pub fn engine(&self) -> &Result<Result<Engine, Unusable>, String> {
        self.engine.get_or_init(|| engine::probe().map_err(|error| format!("{error:#}")))
    }

    /// Every container of this machine. It does not wait for [`Context::engine`]: an engine that lists containers is one.
    pub fn containers(&self) -> Result<&[Container], &str> {
        let containers = self.containers.get_or_init(|| docker::containers(None).map_err(|error| format!("{error:#}")));
        containers.as_deref().map_err(String::as_str)
    }

    /// The stack's own containers; none when the engine does not answer.
    pub fn own(&self) -> Vec<Container> {
        servers::own(self.containers().unwrap_or_default(), &self.stack)
    }

    /// What Docker knows of the stack's own containers.
    pub fn inspected(&self) -> &[Inspected] {
        self.inspected.get_or_init(|| {
            let own = self.own();
            let names: Vec<&str> = own.iter().map(|container| container.name.as_str()).collect();
            docker::inspect(&names).unwrap_or_default()
        })
    }

    /// A server of the stack, when it runs.
    pub fn running(&self, service: &str) -> Option<&Inspected> {
        self.inspected().iter().find(|container| container.service == service && container.state == "running")
    }

    pub fn host(&self) -> Result<&Host, &str> {
        let host = self.host.get_or_init(|| host::detect(&self.stack.settings).map_err(|error| format!("{error:#}")));
        host.as_ref().map_err(String::as_str)
    }

    pub fn secrets(&self) -> Result<&Secrets, &str> {
        let load = || Secrets::load(&secrets::path(&self.stack.root)).map_err(|error| format!("{error:#}"));
        self.secrets.get_or_init(load).as_ref().map_err(String::as_str)
    }

    /// The CA's certificate in PEM, once there is one.
    pub fn ca(&self) -> Option<String> {
        std::fs::read_to_string(certs::ca_path(&self.stack.root)).ok()
    }

    /// The site by the address that clients use, once there is a CA.
    pub fn site(&self) -> Option<Site> {
        let ca = self.ca()?;
        let address = self.host().ok()?.lan_ip();
        let server = SocketAddr::from((address, self.stack.settings.ports.mattermost));
        https::site(&ca, &address.to_string(), server).ok()
    }
}
