//! The short way in from outside: the kernel rewrites packets, and no process touches them.
//!
//! nftables is the kernel's table of what to do with packets at certain points of their way: *prerouting*, before it is
//! decided where they go; *forward*, when they only pass through. A rule that changes a packet's destination to the
//! box's address and port makes a published port without a proxy, and the box sees who its client is. It takes a host
//! that passes packets on at all, which is a setting of the whole host (net.ipv4.ip_forward) and not ours to change, and
//! nobody else's rules that drop what passes through, as Docker's do by default. Where one of these is missing, and for
//! connections from the host itself and from the boxes, there is the proxy. It listens in any case, so that the port is
//! nobody else's; `state` says which way connections from outside take, and why.
//!
//! Each box has a table of its own, called like its cable and removed whole. In the same table packets that were led to
//! a box so, and its answers to them, get the mark with which the wall lets them pass (`wall.rs`).
//!
//! A host's setting lets its rules judge also what passes through a bridge, from box to box (bridge-nf-call-iptables):
//! then boxes that share one cannot reach each other where a rule drops. That too is said.
//!
//! Man page: nft(8). Look at it: `nft list ruleset`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use super::bridge::{Bridge, PREFIX};
use super::publish::Published;
use super::wall::PASS;

/// The rules that lead these ports to the box; nothing where none of them is for others than the host itself.
pub(crate) fn rules(table: &str, bridge: &Bridge, address: Ipv4Addr, ports: &[Published]) -> Option<String> {
    let bridge = &bridge.name;
    let mut inward = String::new();
    for port in ports.iter().filter(|port| !port.address.is_loopback()) {
        let at = match port.address {
            Ipv4Addr::UNSPECIFIED => "fib daddr type local".to_owned(),
            own => format!("ip daddr {own}"),
        };
        // What comes from the host itself or from a box, of this bridge or of another state directory's, takes the proxy:
        // the way back would be another, or the wall would be in it.
        let _ = writeln!(
            inward,
            "    iifname != \"lo\" iifname != \"{PREFIX}*\" {at} tcp dport {} dnat to {address}:{}",
            port.host, port.inside
        );
    }
    (!inward.is_empty()).then(|| {
        format!(
            "table ip {table} {{
  chain inward {{
    type nat hook prerouting priority dstnat; policy accept;
{inward}  }}
  chain pass {{
    type filter hook prerouting priority dstnat + 1; policy accept;
    ip daddr {address} ct status dnat meta mark set meta mark or {PASS}
    iifname \"{bridge}\" ip saddr {address} ct status dnat meta mark set meta mark or {PASS}
  }}
}}
"
        )
    })
}

/// Gives rules to the kernel: all of them or none.
///
/// # Errors
/// Why not, in words.
pub(crate) fn load(rules: &str) -> Result<(), String> {
    run(&["-f", "-"], rules).map(drop)
}

/// Takes a table away, if it is there.
///
/// # Errors
/// Why not, in words.
pub(crate) fn remove(table: &str) -> Result<(), String> {
    // To add it first is the way of saying "if it is there".
    run(&["-f", "-"], &format!("add table ip {table}\ndelete table ip {table}\n")).map(drop)
}

/// Why packets from outside would not come through to a box, if so.
pub(crate) fn obstacle() -> Option<String> {
    match fs::read_to_string("/proc/sys/net/ipv4/ip_forward") {
        Ok(text) if text.trim() == "1" => drops_what_passes_through().unwrap_or_else(Some),
        _ => Some("the host passes no packets on (net.ipv4.ip_forward is 0)".into()),
    }
}

/// Why one box would not reach another, if so.
pub(crate) fn wall_between_boxes() -> Option<String> {
    let asked = fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if !asked.is_ok_and(|text| text.trim() == "1") {
        return None;
    }
    // Where nobody can tell, nothing is claimed.
    let dropped = drops_what_passes_through().ok()??;
    Some(format!(
        "boxes may not reach each other: {dropped}, and bridge-nf-call-iptables lets it judge what passes through a bridge"
    ))
}

/// Which chain of somebody's drops what it has no rule for.
///
/// # Errors
/// Why that cannot be told.
fn drops_what_passes_through() -> Result<Option<String>, String> {
    let all: serde_json::Value = match run(&["-j", "list", "chains"], "") {
        Ok(text) => serde_json::from_str(&text).map_err(|error| format!("nft: {error}"))?,
        Err(why) => return through_iptables().ok_or(why),
    };
    let chains = all["nftables"].as_array().into_iter().flatten().map(|it| &it["chain"]);
    let drops = |chain: &&serde_json::Value| {
        chain["hook"] == "forward"
            && chain["policy"] == "drop"
            && (chain["family"] == "ip" || chain["family"] == "inet")
    };
    Ok(chains.into_iter().find(drops).map(|chain| {
        let word = |key: &str| chain[key].as_str().unwrap_or_default().to_owned();
        format!(
            "chain {} of table {} {} drops what passes through",
            word("name"),
            word("family"),
            word("table")
        )
    }))
}

/// The same where there is no nft: `None` if there is no iptables either.
fn through_iptables() -> Option<Option<String>> {
    let output = tool("iptables").args(["-S", "FORWARD"]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let drops = text.lines().any(|line| line == "-P FORWARD DROP");
    output
        .status
        .success()
        .then(|| drops.then(|| "chain FORWARD of iptables drops what passes through".into()))
}

/// A program of the administrator's.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", search_path(std::env::var_os("PATH")));
    command
}

/// Where administrators' programs are, too, is not where everybody looks: cron does not, nor does who became root by `su`.
fn search_path(own: Option<OsString>) -> OsString {
    // An empty piece of it would be the working directory, whose nft is anybody's.
    let mut path = own.filter(|it| !it.is_empty()).unwrap_or_else(|| "/usr/bin:/bin".into());
    path.push(":/usr/sbin:/sbin");
    path
}

fn run(arguments: &[&str], input: &str) -> Result<String, String> {
    let piped = Stdio::piped;
    let mut child = match tool("nft").args(arguments).stdin(piped()).stdout(piped()).stderr(piped()).spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("there is no nft".into());
        }
        other => other.map_err(|error| format!("nft: {error}"))?,
    };
    // It reads all before it says anything; who closes early says why in what it prints.
    if let Some(mut to) = child.stdin.take() {
        let _ = to.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("nft: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("nft: {}", errors.lines().next().unwrap_or("no reason given"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge() -> Bridge {
        Bridge {
            name: "tare-0".into(),
            subnet: "10.208.0.0/22".parse().expect("net"),
            mtu: None,
            warning: None,
        }
    }

    #[test]
    fn nobody_looks_for_it_in_the_working_directory() {
        for none in [None, Some("".into())] {
            let path = search_path(none);
            assert!(std::env::split_paths(&path).all(|it| it.is_absolute()), "{path:?}");
        }
        assert_eq!(search_path(Some("/opt/bin".into())), "/opt/bin:/usr/sbin:/sbin");
    }

    #[test]
    fn only_ports_that_others_may_reach_have_rules() {
        let own = Published { address: Ipv4Addr::LOCALHOST, host: 8080, inside: 80 };
        let all = Published { address: Ipv4Addr::UNSPECIFIED, host: 8081, inside: 81 };
        let one = Published { address: [192, 0, 2, 2].into(), host: 8082, inside: 82 };
        let of = |ports: &[Published]| rules("tare-0-2", &bridge(), [10, 208, 0, 2].into(), ports);
        assert_eq!(of(&[own]), None);
        let text = of(&[own, all, one]).expect("rules");
        assert!(!text.contains("8080"), "{text}");
        assert!(text.contains("fib daddr type local tcp dport 8081 dnat to 10.208.0.2:81\n"), "{text}");
        assert!(text.contains("ip daddr 192.0.2.2 tcp dport 8082 dnat to 10.208.0.2:82\n"), "{text}");
    }
}
