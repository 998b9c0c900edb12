//! A TURN client that proves a server by using it: allocate, bind a channel, send and receive (RFC 8656).

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use turn_client_proto::api::{Transmit, TurnClientApi as _, TurnConfig, TurnEvent, TurnRecvRet};
use turn_client_proto::client::TurnClient;
use turn_client_proto::stun::Instant as StunInstant;
use turn_client_proto::stun::types::TransportType;
use turn_client_proto::stun::types::attribute::{ErrorCode, Realm};
use turn_client_proto::stun::types::message::{Message, MessageClass};
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::TurnCredentials;
use turn_client_proto::types::message::REFRESH;
use turn_client_proto::udp::TurnClientUdp;

/// Between client and server. What is relayed is always UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        })
    }
}

/// Time-limited credentials: `<expiry>:<user>` and the base64 of its HMAC-SHA1 under the shared secret
/// (draft-uberti-behave-turn-rest-00), as the Calls plugin mints them.
#[derive(Clone)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

pub fn credentials(secret: &str, user: &str, expiry: i64) -> anyhow::Result<Credentials> {
    let username = format!("{expiry}:{user}");
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())?;
    mac.update(username.as_bytes());
    let password = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    Ok(Credentials { username, password })
}

/// What the server refused, by the code of its last error response.
#[derive(Debug)]
pub struct Refused {
    pub code: u16,
    what: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the TURN server refused {} with {}", self.what, self.code)
    }
}

impl std::error::Error for Refused {}

/// An allocation on a server. It is deleted on drop.
#[derive(Debug)]
pub struct Session {
    client: TurnClient,
    socket: Socket,
    start: Instant,
    /// How far the client's clock is ahead, so that what it does after minutes can be seen at once.
    ahead: Duration,
    /// Requests to refresh the allocation that were sent, and those that were answered with success.
    refreshes: (u32, u32),
    /// Codes of the error responses, in order. The first 401 is how every allocation begins.
    errors: Vec<u16>,
    relayed: SocketAddr,
}

/// How a server answers who has no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// 401 where credentials are asked for; nothing where an allocation was given away.
    pub code: Option<u16>,
    pub realm: Option<String>,
}

/// Asks for an allocation without credentials (RFC 8656, section 7.1).
///
/// # Errors
/// When nothing answers within `limit`.
pub fn challenge(server: SocketAddr, transport: Transport, limit: Duration) -> anyhow::Result<Challenge> {
    let mut socket =
        connect(server, transport, limit).with_context(|| format!("no TURN server at {server}/{transport}"))?;
    // An Allocate with REQUESTED-TRANSPORT (0x0019) UDP (17), 8 bytes of attributes after the magic cookie and an id.
    let mut request = vec![0x00, 0x03, 0x00, 0x08, 0x21, 0x12, 0xa4, 0x42];
    request.extend_from_slice(&rand::random::<[u8; 12]>());
    request.extend_from_slice(&[0x00, 0x19, 0x00, 0x04, 17, 0, 0, 0]);
    socket.send(&request)?;
    let end = Instant::now() + limit;
    while Instant::now() < end {
        let Some(bytes) = socket.receive()? else { continue };
        let message = Message::from_bytes(&bytes).map_err(|error| anyhow::anyhow!("no STUN answer: {error:?}"))?;
        return Ok(Challenge {
            code: message.attribute::<ErrorCode>().ok().map(|error| error.code()),
            realm: message.attribute::<Realm>().ok().map(|realm| realm.realm().to_owned()),
        });
    }
    bail!("the TURN server did not answer in {} s", limit.as_secs());
}

/// Allocates a relayed address.
///
/// # Errors
/// [`Refused`] with 401 for wrong, expired or foreign credentials; another error when nothing answers within `limit`.
pub fn allocate(
    server: SocketAddr,
    transport: Transport,
    credentials: &Credentials,
    limit: Duration,
) -> anyhow::Result<Session> {
    let socket =
        connect(server, transport, limit).with_context(|| format!("no TURN server at {server}/{transport}"))?;
    let config = TurnConfig::new(TurnCredentials::new(&credentials.username, &credentials.password));
    let local = socket.local()?;
    let client = match transport {
        Transport::Udp => TurnClientUdp::allocate(local, server, config).into(),
        Transport::Tcp => TurnClientTcp::allocate(local, server, config).into(),
    };
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut session = Session {
        client,
        socket,
        start: Instant::now(),
        ahead: Duration::ZERO,
        refreshes: (0, 0),
        errors: Vec::new(),
        relayed: unknown,
    };
    let event = session.drive(limit, "an allocation", |event| match event {
        TurnEvent::AllocationCreated(_, address) => Some(Ok(address)),
        TurnEvent::AllocationCreateFailed(_) => Some(Err(())),
        _ => None,
    })?;
    session.relayed = event.map_err(|()| session.refusal("an allocation"))?;
    Ok(session)
}

impl Session {
    pub fn relayed(&self) -> SocketAddr {
        self.relayed
    }

    /// Asks for a channel to a peer. A refusal comes here, before any data is sent.
    pub fn bind(&mut self, peer: SocketAddr, limit: Duration) -> anyhow::Result<()> {
        let now = self.now();
        self.client.bind_channel(TransportType::Udp, peer, now).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let event = self.drive(limit, "a channel", |event| match event {
            TurnEvent::ChannelCreated(..) => Some(Ok(())),
            TurnEvent::ChannelCreateFailed(..) | TurnEvent::PermissionCreateFailed(..) => Some(Err(())),
            _ => None,
        })?;
        event.map_err(|()| self.refusal("a channel").into())
    }

    /// Sends to a peer and waits for what comes back from it.
    pub fn exchange(&mut self, peer: SocketAddr, data: &[u8], limit: Duration) -> anyhow::Result<Vec<u8>> {
        self.send(peer, data)?;
        let answer = self.receive(peer, limit)?;
        answer.with_context(|| format!("nothing came back from {peer} through the relay in {} s", limit.as_secs()))
    }

    /// Sends to a peer, over the channel to it when there is one.
    pub fn send(&mut self, peer: SocketAddr, data: &[u8]) -> anyhow::Result<()> {
        let now = self.now();
        let sent = self.client.send_to(TransportType::Udp, peer, data, now);
        if let Some(transmit) = sent.map_err(|error| anyhow::anyhow!("{error:?}"))? {
            self.socket.send(&transmit.build().data)?;
        }
        Ok(())
    }

    /// What a load generator needs, which has no time for the client's bookkeeping: the socket to the server, and the bytes by
    /// which data goes to a peer over its channel.
    ///
    /// # Errors
    /// When there is no channel to the peer, or when the server is not asked over UDP.
    pub fn wire(&mut self, peer: SocketAddr, data: &[u8]) -> anyhow::Result<(UdpSocket, Vec<u8>)> {
        let now = self.now();
        let sent = self.client.send_to(TransportType::Udp, peer, data, now);
        let transmit =
            sent.map_err(|error| anyhow::anyhow!("{error:?}"))?.context("there is no channel to the peer")?;
        let Socket::Udp(socket) = &self.socket else { bail!("the server is asked over TCP") };
        Ok((socket.try_clone()?, transmit.build().data))
    }

    /// Waits for data from a peer; nothing when none came in time.
    pub fn receive(&mut self, peer: SocketAddr, limit: Duration) -> anyhow::Result<Option<Vec<u8>>> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some((from, answer)) = self.step()?
                && from == peer
            {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Refreshes the allocation, as a client does a minute before it runs out: its clock is put forward until it asks.
    ///
    /// # Errors
    /// When the server refuses, or does not answer within `limit`.
    pub fn refresh(&mut self, limit: Duration) -> anyhow::Result<()> {
        const LONGEST: Duration = Duration::from_secs(2 * 3600);
        let (sent, answered) = self.refreshes;
        while self.refreshes.0 == sent && self.ahead < LONGEST {
            self.ahead += Duration::from_secs(20);
            self.send_what_is_due()?;
        }
        let end = Instant::now() + limit;
        while Instant::now() < end {
            self.step()?;
            if self.refreshes.1 > answered {
                return Ok(());
            }
        }
        bail!("the TURN server did not answer a refresh in {} s", limit.as_secs());
    }

    fn drive<T>(
        &mut self,
        limit: Duration,
        what: &'static str,
        mut wanted: impl FnMut(TurnEvent) -> Option<T>,
    ) -> anyhow::Result<T> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            self.step()?;
            while let Some(event) = self.client.poll_event() {
                if let Some(result) = wanted(event) {
                    return Ok(result);
                }
            }
            // The client library stays silent when its credentials are refused; the second 401 says it.
            if self.errors.iter().filter(|code| **code == 401).count() > 1 {
                return Err(self.refusal(what).into());
            }
        }
        bail!("the TURN server did not answer in {} s", limit.as_secs());
    }

    /// Sends what is due, waits a little for an answer, and returns data of a peer when there is some.
    fn step(&mut self) -> anyhow::Result<Option<(SocketAddr, Vec<u8>)>> {
        self.send_what_is_due()?;
        let Some(bytes) = self.socket.receive()? else { return Ok(None) };
        self.note(&bytes);
        let now = self.now();
        let transmit = Transmit {
            transport: self.client.transport(),
            from: self.client.remote_addr(),
            to: self.client.local_addr(),
            data: bytes,
        };
        match self.client.recv(transmit, now) {
            TurnRecvRet::PeerData(data) => Ok(Some((data.peer, data.data().to_vec()))),
            _ => Ok(self.client.poll_recv(now).map(|data| (data.peer, data.data().to_vec()))),
        }
    }

    fn send_what_is_due(&mut self) -> anyhow::Result<()> {
        let now = self.now();
        self.client.poll(now);
        while let Some(transmit) = self.client.poll_transmit(now) {
            if Message::from_bytes(&transmit.data).is_ok_and(|message| message.has_method(REFRESH)) {
                self.refreshes.0 += 1;
            }
            self.socket.send(&transmit.data)?;
        }
        Ok(())
    }

    fn note(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::from_bytes(bytes) else { return };
        if let Ok(error) = message.attribute::<ErrorCode>() {
            self.errors.push(error.code());
        }
        if message.has_method(REFRESH) && message.class() == MessageClass::Success {
            self.refreshes.1 += 1;
        }
    }

    fn refusal(&self, what: &'static str) -> Refused {
        Refused { code: self.errors.last().copied().unwrap_or_default(), what }
    }

    fn now(&self) -> StunInstant {
        StunInstant::from_std(self.start) + self.ahead
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The client lets 50 ms pass between two requests (RFC 8445, section 14.2), and nobody waits for that here: what was not
        // deleted counts against the user's quota until it runs out.
        let now = self.now() + Duration::from_millis(100);
        if self.client.delete(now).is_ok() {
            while let Some(transmit) = self.client.poll_transmit(now) {
                self.socket.send(&transmit.data).ok();
            }
        }
    }
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// How long one step waits for a packet.
const STEP: Duration = Duration::from_millis(20);

fn connect(server: SocketAddr, transport: Transport, limit: Duration) -> std::io::Result<Socket> {
    match transport {
        Transport::Udp => {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(STEP))?;
            Ok(Socket::Udp(socket))
        }
        Transport::Tcp => {
            let socket = TcpStream::connect_timeout(&server, limit)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(STEP))?;
            Ok(Socket::Tcp(socket))
        }
    }
}

impl Socket {
    fn local(&self) -> std::io::Result<SocketAddr> {
        match self {
            Socket::Udp(socket) => socket.local_addr(),
            Socket::Tcp(socket) => socket.local_addr(),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Socket::Udp(socket) => drop(socket.send(bytes)?),
            Socket::Tcp(socket) => socket.write_all(bytes)?,
        }
        Ok(())
    }

    fn receive(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 65536];
        let received = match self {
            Socket::Udp(socket) => socket.recv(&mut buffer),
            Socket::Tcp(socket) => socket.read(&mut buffer),
        };
        match received {
            Ok(0) if matches!(self, Socket::Tcp(_)) => bail!("the TURN server closed the connection"),
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(error).context("the TURN server cannot be reached"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from the Calls plugin: its answer of turn-credentials, for the secret of that server.
    #[test]
    fn credentials_are_what_the_calls_plugin_mints() {
        let credentials = credentials("turnsecret0123456789", "admin", 1795407889).expect("credentials");
        assert_eq!(credentials.username, "1795407889:admin");
        assert_eq!(credentials.password, "qxsaqRTpneke68CXo8D4z7wwrKA=");
        assert!(!format!("{credentials:?}").contains(&credentials.password));
    }
}
