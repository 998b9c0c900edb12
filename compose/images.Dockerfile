# The images of the stack, one FROM line each: the place to pin and to raise a version, also for Dependabot and Renovate.
# Nothing builds this file; `cargo xtask render` reads it.

# Debian variant, fixed: a change of glibc underneath a database reorders its text indexes. User 999.
FROM postgres:17.11-trixie AS postgres

# Enterprise image, unlicensed (Entry mode). 11.7 is the extended support release; the vendor's `release-X.Y` tags get
# its patches, `release-X` ones have caused downgrades. amd64 only, distroless, user 2000.
FROM mattermost/mattermost-enterprise-edition:release-11.7 AS mattermost

# 4.17 and later: CVE-2026-27624 (relay to loopback by IPv4-mapped IPv6 addresses) and later fixes. User 65534.
FROM coturn/coturn:4.17.0-r0-debian AS coturn
