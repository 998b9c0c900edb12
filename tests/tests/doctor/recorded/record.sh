#!/bin/sh
# Records what the tests replay, in a network namespace of its own: the rules of this machine are not touched.
#   debootstrap --variant=minbase --include=ufw,firewalld,nftables,iptables,dbus bookworm ROOT
#   iptables-save > docker.iptables          (on a machine where a lab runs, once)
#   unshare --net --mount --pid --fork --mount-proc sh record.sh ROOT
set -eu
root=$1
here=$(cd "$(dirname "$0")" && pwd)
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
ip link set lo up
ip link add eth0 type veth peer name peer0
ip address add 192.168.1.10/24 dev eth0
ip link set eth0 up

in_root() { chroot "$root" "$@" >&2; }
save() {
    chroot "$root" iptables-save > "$here/$1.iptables"
    chroot "$root" nft --json list ruleset > "$here/$1.json"
    echo "$1" >&2
}
docker() { chroot "$root" iptables-restore --noflush < "$here/docker.iptables"; }
nothing() { chroot "$root" nft flush ruleset; }

# ufw, with Docker's rules there before it, as after a start of the machine with `ufw enable` later.
in_root sed -i s/IPV6=yes/IPV6=no/ /etc/default/ufw
in_root ufw --force reset
nothing; docker
in_root ufw allow 22/tcp
in_root ufw --force enable
save ufw-deny
for port in 3478/udp 3478/tcp 49160:49559/udp 8066/tcp; do in_root ufw allow $port; done
save ufw-allow
in_root ufw deny 3478/tcp
save ufw-explicit-deny
in_root ufw --force disable

# What the documentation of ufw-docker puts into /etc/ufw/after.rules, shortened to what decides here.
nothing; docker
in_root ufw --force enable
in_root iptables -F DOCKER-USER
in_root iptables -N ufw-docker-logging-deny
in_root iptables -A DOCKER-USER -j ufw-user-forward
in_root iptables -A DOCKER-USER -p tcp --syn -d 172.16.0.0/12 -j ufw-docker-logging-deny
in_root iptables -A DOCKER-USER -p udp -m udp --dport 0:32767 -d 172.16.0.0/12 -j ufw-docker-logging-deny
in_root iptables -A DOCKER-USER -j RETURN
in_root iptables -A ufw-docker-logging-deny -j DROP
save ufw-docker
in_root ufw --force disable

# A rule of somebody's own where Docker says that they belong.
nothing; docker
in_root iptables -I DOCKER-USER -i eth0 '!' -s 10.0.0.0/8 -j DROP
save docker-user-drop

# Hand-written nftables beside Docker's rules.
nothing; docker
chroot "$root" nft -f - <<'RULES'
table inet guard {
    set open {
        type inet_service
        flags interval
        elements = { 22, 80, 443 }
    }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        iifname "lo" accept
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport @open accept
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
    }
}
RULES
save nft-drop
chroot "$root" nft insert rule inet guard input udp dport '{ 3478, 49160-49559 }' accept
chroot "$root" nft insert rule inet guard input tcp dport '{ 3478, 8066 }' accept
save nft-open
# Out of the box /etc/nftables.conf begins with it: Docker's rules are gone until its daemon is restarted.
nothing
chroot "$root" nft add table inet guard
save flushed

rm -f "$root"/etc/firewalld/zones/*

# firewalld, and Docker's rules after it, which is what Docker does when firewalld starts.
nothing
mkdir -p "$root/run/dbus"
in_root dbus-daemon --system --fork
chroot "$root" firewalld --nofork --nopid >&2 &
until in_root firewall-cmd --state; do sleep 1; done
docker
save firewalld-public
in_root firewall-cmd --add-port=3478/udp --add-port=3478/tcp --add-port=49160-49559/udp --add-port=8066/tcp
save firewalld-open
in_root firewall-cmd --zone=drop --change-interface=eth0
save firewalld-drop
