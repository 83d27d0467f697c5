// What the fuzz targets on the mesh do with their bytes; the tests of `mesh` replay the corpora through
// the same functions.

use std::sync::Arc;

use nacre_mesh::config::Config;
use nacre_mesh::session::Session;
use nacre_meshconfig::{Egress, GrammarError, Ingress, PeerRules, Resolved};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;

/// Any text as any of the annotations: no panic, errors point into the text, and the mesh reads what
/// the function has read.
pub(crate) fn grammar(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let characters = text.chars().count();
    let inside = |error: GrammarError| {
        assert!((1..=characters + 1).contains(&error.position), "{error}");
    };
    let ingress = Ingress::parse(text).map_err(inside);
    let egress = Egress::parse(text).map_err(inside);
    let variable = |name: &'static str, value: String| {
        Config::read(&move |asked| (asked == name).then(|| value.clone()))
    };
    if let Ok(ingress) = &ingress {
        let config = variable("CONTRAST_INGRESS_PROXY_CONFIG", text.to_owned());
        assert_eq!(&config.expect("what the function takes").ingress, ingress);
    }
    if let Ok(egress) = &egress {
        // Only the admin endpoint's own port can be in the way.
        if let Ok(config) = variable("CONTRAST_EGRESS_PROXY_CONFIG", text.to_owned()) {
            assert_eq!(config.egress.len(), egress.entries.len());
        }
    }
    let rules = PeerRules::parse_ingress(text, &Ingress::default()).map_err(inside);
    let _ = PeerRules::parse_egress(text, ["backend"].into_iter()).map_err(inside);
    if let Ok(rules) = rules {
        let resolved = Resolved {
            rules: &rules,
            trust_domain: "nacre.local",
        };
        let resolved = resolved.to_string();
        if !resolved.is_empty() {
            PeerRules::parse_ingress(&resolved, &Ingress::default()).expect("what was written out");
        }
    }
}

/// Any bytes as what a stranger sends first: no panic, no end of the handshake, and not much of an
/// answer.
pub(crate) fn client_hello(config: &Arc<ServerConfig>, bytes: &[u8]) {
    let server = UnbufferedServerConnection::new(Arc::clone(config)).expect("a server");
    let mut server = Session::from(server);
    let (mut incoming, mut said) = (Vec::new(), Vec::new());
    // In two parts, as records come from a socket.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for part in [first, second] {
        incoming.extend_from_slice(part);
        match server.advance(&mut incoming, &mut said) {
            Ok(used) => {
                assert!(used <= incoming.len());
                incoming.drain(..used);
            }
            Err(_) => break,
        }
    }
    assert!(
        server.common().is_handshaking(),
        "nobody can guess a Finished"
    );
    assert!(
        said.len() < 16 * 1024,
        "{} bytes for {}",
        said.len(),
        bytes.len()
    );
}
