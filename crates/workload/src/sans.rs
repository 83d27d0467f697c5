//! The names in a workload's certificate.

use std::net::IpAddr;

use nacre_findings::{Finding, codes::workload as codes};

use crate::annotations::Annotation;
use crate::services::Service;

/// Where names come from.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// `metadata.name` of the workload; the common name of the certificate.
    pub workload: &'a str,
    /// Services of the rendered set that select it, by name.
    pub services: &'a [&'a Service],
    /// `nacre.dev/sans`.
    pub annotation: Option<&'a Annotation<Vec<String>>>,
    /// From the configuration.
    pub configured: &'a [String],
    /// Names below `spiffe://<trust domain>/` are the Coordinator's to mint.
    pub trust_domain: &'a str,
}

impl Names<'_> {
    /// The names in their final order, each once: the workload, `*`, the services, the user's own.
    ///
    /// The services stand beside the `*` because OpenSSL, webpki and Go take a bare `*` for no name.
    pub fn collect(&self) -> Result<Vec<String>, Vec<Finding>> {
        let mut names = vec![self.workload.to_owned(), "*".to_owned()];
        names.extend(self.services.iter().flat_map(|service| service.dns_names()));
        let mut findings = Vec::new();
        let annotated = self.annotation.into_iter().flat_map(|annotation| {
            let field = Some(annotation.field.as_str());
            annotation.value.iter().map(move |san| (san, field))
        });
        let configured = self.configured.iter().map(|san| (san, None));
        for (san, field) in annotated.chain(configured) {
            match check(san, self.trust_domain) {
                Ok(()) => names.push(san.clone()),
                Err(finding) => {
                    let finding = finding.current(san.clone());
                    findings.push(match field {
                        Some(field) => finding.field(field),
                        None => finding,
                    });
                }
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Ok(names)
    }
}

/// Whether a user may ask for this name.
fn check(san: &str, trust_domain: &str) -> Result<(), Finding> {
    let invalid = |what: &str| {
        Finding::error(codes::SAN_INVALID, format!("{san:?} is not {what}"))
            .help("write DNS names (a * may be the first label), IP addresses or URIs")
    };
    if let Some((scheme, rest)) = san.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("spiffe") && authority.eq_ignore_ascii_case(trust_domain) {
            return Err(Finding::error(
                codes::SAN_RESERVED,
                format!("{san} is below the trust domain {trust_domain}, whose names only the Coordinator gives"),
            )
            .help("remove it: the workload gets its SPIFFE URI from namespace, kind and name"));
        }
        let fits = !scheme.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !rest.is_empty()
            && san.bytes().all(|b| b.is_ascii_graphic());
        return if fits { Ok(()) } else { Err(invalid("a URI")) };
    }
    if san == "*" || san.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let name = san.strip_prefix("*.").unwrap_or(san);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let digits = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match name.len() <= 253 && !digits && name.split('.').all(label) {
        true => Ok(()),
        false => Err(invalid("a DNS name, an IP address or a URI")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(configured: &[&str]) -> Result<Vec<String>, Vec<Finding>> {
        let configured: Vec<_> = configured.iter().map(|s| (*s).to_owned()).collect();
        let service = Service {
            namespace: "shop".to_owned(),
            name: "front".to_owned(),
            selector: [].into(),
            headless: false,
        };
        Names {
            workload: "web",
            services: &[&service],
            annotation: Some(&Annotation {
                value: vec!["a.example".to_owned(), "web".to_owned()],
                field: "f".to_owned(),
            }),
            configured: &configured,
            trust_domain: "nacre.local",
        }
        .collect()
    }

    #[test]
    fn in_a_fixed_order_and_each_once() {
        assert_eq!(
            names(&["192.0.2.1", "a.example"]).unwrap(),
            [
                "web",
                "*",
                "front",
                "front.shop",
                "front.shop.svc",
                "front.shop.svc.cluster.local",
                "a.example",
                "192.0.2.1"
            ]
        );
    }

    #[test]
    fn what_may_be_asked_for() {
        for san in [
            "*",
            "*.example",
            "2001:db8::1",
            "https://a/b",
            "spiffe://other/ns/a",
            "A_b.c",
        ] {
            assert!(names(&[san]).is_ok(), "{san}");
        }
        for san in [
            "", "a..b", "-a", "a b", "1.2.3", "a.*.b", "x://", "://a", "é",
        ] {
            let findings = names(&[san]).unwrap_err();
            assert_eq!(findings[0].code, codes::SAN_INVALID, "{san}");
        }
    }

    #[test]
    fn spiffe_names_of_the_trust_domain_are_refused() {
        for san in [
            "spiffe://nacre.local/ns/shop/Deployment/other",
            "SPIFFE://Nacre.local",
            "spiffe://nacre.local?x",
        ] {
            let findings = names(&[san]).unwrap_err();
            assert_eq!(findings[0].code, codes::SAN_RESERVED, "{san}");
        }
    }
}
