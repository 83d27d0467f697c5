//! Why a request about the network or an id was refused: the loopback was meant, or something unusual.

use std::net::IpAddr;

use serde_json::Value;

use crate::pod::{list, text};

/// The cause of a failed check as the request shows it; `None` where it is the one that the check names.
pub(super) fn likely(check: &str, request: &Value) -> Option<String> {
    let null = Value::Null;
    match check {
        "link" => link(request.get("interface").unwrap_or(&null)),
        "address" => address(request.get("interface").unwrap_or(&null)),
        "routes" => {
            let routes = request.get("routes").unwrap_or(&null);
            let meant = list(routes, "Routes").iter().any(|route| {
                text(route, "device") == Some("lo")
                    || ["dest", "gateway", "source"]
                        .iter()
                        .any(|end| text(route, end).is_some_and(is_loopback))
            });
            (!meant).then(|| {
                "a network plugin that writes a destination with leading zeros, or an address of version 4 in one of \
                 version 6: the rules cannot tell them from the loopback"
                    .to_owned()
            })
        }
        "neighbors" => {
            let neighbors = request.get("neighbors").unwrap_or(&null);
            let meant = list(neighbors, "ARPNeighbors").iter().any(|neighbor| {
                let address = neighbor.get("toIPAddress").unwrap_or(&null);
                text(neighbor, "device") == Some("lo")
                    || text(address, "address").is_some_and(is_loopback)
            });
            (!meant).then(|| {
                "a network plugin that makes neighbours in another state, or with other flags, than permanent or \
                 reachable ones have"
                    .to_owned()
            })
        }
        "id" => {
            let id = text(request, "container_id").unwrap_or("");
            let shaped = id.len() == 64 && id.bytes().all(|b| b"0123456789abcdef".contains(&b));
            shaped.then(|| {
                "an id that was used before: the runtime, or the host, asked twice".to_owned()
            })
        }
        _ => None,
    }
}

fn link(interface: &Value) -> Option<String> {
    let hardware = text(interface, "hwAddr").unwrap_or("");
    if !hardware.is_empty() && hardware.bytes().all(|b| b"0:".contains(&b)) {
        return None;
    }
    let ethernet = |parts: &[&str]| {
        let hex = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        parts.len() == 6 && parts.iter().all(hex)
    };
    let parts: Vec<&str> = hardware.split(':').collect();
    Some(if !ethernet(&parts) {
        "a link that is not Ethernet: WireGuard, InfiniBand, or a network plugin that routes"
            .to_owned()
    } else if hardware.bytes().any(|b| b.is_ascii_uppercase()) {
        "a network plugin that writes link addresses in capitals".to_owned()
    } else {
        "a network plugin that gives the link other flags than none or NOARP".to_owned()
    })
}

fn address(interface: &Value) -> Option<String> {
    let all: Vec<&str> = list(interface, "IPAddresses")
        .iter()
        .filter_map(|address| text(address, "address"))
        .collect();
    if all.iter().any(|address| is_loopback(address)) {
        return None;
    }
    if all.iter().any(|address| address.contains('%')) {
        return Some("a network plugin that writes addresses with a zone".to_owned());
    }
    let written = |address: &&str| {
        address.parse::<IpAddr>().is_ok() && address.bytes().any(|b| b.is_ascii_uppercase())
    };
    all.iter()
        .any(written)
        .then(|| "a network plugin that writes addresses in capitals".to_owned())
}

/// With or without a mask or a zone, also where version 6 embeds version 4.
fn is_loopback(text: &str) -> bool {
    let end = text.find(['/', '%']).unwrap_or(text.len());
    let address = text.get(..end).unwrap_or("").parse::<IpAddr>();
    address.is_ok_and(|address| address.to_canonical().is_loopback())
}
