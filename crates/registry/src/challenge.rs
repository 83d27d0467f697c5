//! `WWW-Authenticate` challenges (RFC 9110, section 11.6.1; distribution token specification).

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// The strongest challenge we can answer: bearer before basic.
pub(crate) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut found = None;
    for header in headers {
        let mut rest = header;
        while let Some((scheme, parameters, behind)) = one(rest) {
            rest = behind;
            let value = |name: &str| {
                let mut named = parameters
                    .iter()
                    .filter(|(n, _)| n.eq_ignore_ascii_case(name));
                named.next().map(|(_, v)| v.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = value("realm")
            {
                let (service, scope) = (value("service"), value("scope"));
                return Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

type Parameters = Vec<(String, String)>;

/// One challenge: scheme, parameters, and what stands behind it.
fn one(text: &str) -> Option<(&str, Parameters, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let (scheme, mut rest) = token(text)?;
    let mut parameters = Vec::new();
    loop {
        let next = rest.trim_start_matches([' ', '\t', ',']);
        let Some((name, behind)) = token(next) else {
            return Some((scheme, parameters, next.get(1..).unwrap_or_default()));
        };
        let Some(value) = behind.trim_start().strip_prefix('=') else {
            // A word without a value is the scheme of the next challenge.
            return Some((scheme, parameters, next));
        };
        let value = value.trim_start();
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, behind) = token(value)?;
                (value.to_owned(), behind)
            }
        };
        parameters.push((name.to_owned(), value));
        rest = behind;
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        })
    }

    #[test]
    fn challenges_of_real_registries() {
        let ask = |text: &str| parse([text].into_iter());
        assert_eq!(
            ask(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#
            ),
            bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:library/nginx:pull")
            )
        );
        assert_eq!(
            ask(r#"bearer  realm = "a\"b" , error="x, y""#),
            bearer("a\"b", None, None)
        );
        assert_eq!(
            ask(r#"Basic realm="Registry Realm""#),
            Some(Challenge::Basic)
        );
        assert_eq!(ask("Basic"), Some(Challenge::Basic));
        assert_eq!(
            ask(r#"Basic realm="r", Bearer realm=x"#),
            bearer("x", None, None)
        );
        assert_eq!(ask("Negotiate"), None);
        assert_eq!(ask(r#"Bearer realm="unfinished"#), None);
        assert_eq!(
            parse(["Negotiate", "Basic realm=x"].into_iter()),
            Some(Challenge::Basic)
        );
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics_or_loops(text in "\\PC{0,80}") {
            let _ = parse([text.as_str()].into_iter());
        }
    }
}
