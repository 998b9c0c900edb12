//! The media port: it echoes what it gets, from the address that the Calls plugin would answer from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::calls::Media;
use crate::log;

/// Opens every socket or none.
pub async fn start(media: &Media) -> Result<(), String> {
    let local = local_addresses()?;
    let udp = udp_sockets(media, &local).await?;
    let tcp = tcp_listeners(media, &local).await?;
    for (index, socket) in udp.iter().enumerate() {
        announce("udp", socket.local_addr());
        tokio::spawn(echo_udp(socket.clone(), answering(&udp, index)));
    }
    let answers = media.tcp_address.is_some() || outside(&local) == 1;
    for listener in tcp {
        announce("tcp", listener.local_addr());
        tokio::spawn(serve_tcp(listener, answers));
    }
    Ok(())
}

fn announce(protocol: &str, address: std::io::Result<SocketAddr>) {
    let address = address.map_or_else(|it| it.to_string(), |it| it.to_string());
    log::info(&format!("rtc: server is listening on {protocol} {address}"))
        .with("plugin_id", crate::calls::PLUGIN_ID)
        .write();
}

async fn udp_sockets(media: &Media, local: &[Ipv4Addr]) -> Result<Vec<Arc<UdpSocket>>, String> {
    let mut sockets = Vec::new();
    for address in media.udp_address.map_or(local.to_vec(), |it| vec![it]) {
        let socket = UdpSocket::bind((address, media.udp_port))
            .await
            .map_err(|it| format!("failed to start rtc server: listen udp4 {address}:{}: {it}", media.udp_port))?;
        sockets.push(Arc::new(socket));
    }
    Ok(sockets)
}

async fn tcp_listeners(media: &Media, local: &[Ipv4Addr]) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for address in media.tcp_address.map_or(local.to_vec(), |it| vec![it]) {
        let listener = TcpListener::bind((address, media.tcp_port))
            .await
            .map_err(|it| format!("failed to start rtc server: listen tcp4 {address}:{}: {it}", media.tcp_port))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The socket that answers for the one at `index`. With several outside addresses it is another one: the plugin maps
/// its host override onto each of them and answers from the wrong one, which is why a call fails on two networks
/// unless the address is fixed.
fn answering(sockets: &[Arc<UdpSocket>], index: usize) -> Arc<UdpSocket> {
    let is_outside = |it: &Arc<UdpSocket>| it.local_addr().is_ok_and(|it| !it.ip().is_loopback());
    if !is_outside(&sockets[index]) {
        return sockets[index].clone();
    }
    let (before, after) = sockets.split_at(index);
    let wrong = after[1..].iter().chain(before).find(|it| is_outside(it));
    wrong.unwrap_or(&sockets[index]).clone()
}

async fn echo_udp(socket: Arc<UdpSocket>, answering: Arc<UdpSocket>) {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv_from(&mut buffer).await {
            // An answer that cannot be sent is lost, as anything may be over UDP.
            Ok((length, from)) => drop(answering.send_to(&buffer[..length], from).await),
            Err(error) => log::warn("rtc: receiving failed").with("error", &error.to_string()).write(),
        }
    }
}

async fn serve_tcp(listener: TcpListener, answers: bool) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(echo_tcp(stream, answers))),
            Err(error) => log::warn("rtc: accepting failed").with("error", &error.to_string()).write(),
        }
    }
}

/// A connection is always taken; without a fixed address among several nothing comes back on it.
async fn echo_tcp(mut stream: TcpStream, answers: bool) {
    let mut buffer = [0; 2048];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if answers && stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn outside(addresses: &[Ipv4Addr]) -> usize {
    addresses.iter().filter(|it| !it.is_loopback()).count()
}

fn local_addresses() -> Result<Vec<Ipv4Addr>, String> {
    let trie = std::fs::read_to_string("/proc/net/fib_trie").map_err(|it| format!("/proc/net/fib_trie: {it}"))?;
    Ok(local_in_trie(&trie))
}

/// The kernel's routing trie names each local address in the line above `/32 host LOCAL`.
fn local_in_trie(trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<IpAddr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(IpAddr::V4(address)) = last
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_from_the_kernels_trie() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.1\n        \
                    /32 host LOCAL\n     |-- 172.30.0.2\n        /32 host LOCAL\n     |-- 172.30.0.255\n        \
                    /32 link BROADCAST\nLocal:\n     |-- 172.30.0.2\n        /32 host LOCAL\n";
        assert_eq!(local_in_trie(trie), [Ipv4Addr::LOCALHOST, Ipv4Addr::new(172, 30, 0, 2)]);
    }
}
