//! Values that are partly known only when the pod starts, and `$(VAR)` expansion.

use std::collections::BTreeMap;

/// Something the cluster decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Free {
    /// The pod's name; the state knows it.
    PodName,
    /// The pod's UID; the state knows it.
    PodUid,
    /// The host name of the sandbox; the state knows it.
    Hostname,
    /// One of the addresses of the pod's interfaces; the state knows them.
    PodIp,
    /// Several of them, separated by commas.
    PodIps,
    /// An address of the node.
    HostIp,
    /// The node's name.
    NodeName,
    /// A decimal number.
    Number,
    /// Whatever the host says: a Secret's value.
    Anything,
}

/// An address of either family.
pub(crate) const IP: &str = "([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F:]{2,39})";

impl Free {
    /// How the rules are told, if the whole value is this.
    fn whole(self) -> Option<&'static str> {
        match self {
            Self::PodName => Some("@pod"),
            Self::PodUid => Some("@uid"),
            Self::Hostname => Some("@host"),
            Self::PodIp => Some("@ip"),
            _ => None,
        }
    }

    /// The narrowest pattern, if it is only a part.
    fn pattern(self, pod_name: &str) -> String {
        match self {
            Self::PodName | Self::Hostname => {
                format!(
                    "({})",
                    pod_name.trim_start_matches('^').trim_end_matches('$')
                )
            }
            Self::PodUid => "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}".to_owned(),
            Self::PodIp | Self::HostIp => IP.to_owned(),
            Self::PodIps => format!("{IP}(,{IP})*"),
            Self::NodeName => "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?".to_owned(),
            Self::Number => "[0-9]{1,20}".to_owned(),
            Self::Anything => "[\\s\\S]*".to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Free(Free),
    Pattern(&'static str),
}

/// A text with gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Piece>);

/// What the rules compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Exactly this.
    Exact(String),
    /// `@…` (a value of the state) or an anchored pattern.
    Rule(String),
}

impl Text {
    pub(crate) fn literal(text: impl Into<String>) -> Self {
        let mut out = Self::default();
        out.push_str(&text.into());
        out
    }

    pub(crate) fn free(free: Free) -> Self {
        Self(vec![Piece::Free(free)])
    }

    /// A literal frame around a fixed pattern.
    pub(crate) fn pattern(before: &str, pattern: &'static str, after: &str) -> Self {
        let mut out = Self::literal(before);
        out.0.push(Piece::Pattern(pattern));
        out.push_str(after);
        out
    }

    /// Whether the host can put anything at all into it.
    pub(crate) fn holds_secret(&self) -> bool {
        self.0.contains(&Piece::Free(Free::Anything))
    }

    fn push_str(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(Piece::Literal(last)) => last.push_str(text),
            _ => self.0.push(Piece::Literal(text.to_owned())),
        }
    }

    fn push(&mut self, other: &Self) {
        for piece in &other.0 {
            match piece {
                Piece::Literal(text) => self.push_str(text),
                free => self.0.push(free.clone()),
            }
        }
    }

    /// What the rules compare with; `pod_name` is the anchored pattern of the pod's name.
    pub(crate) fn rule(&self, pod_name: &str) -> Rule {
        match self.0.as_slice() {
            [] => return Rule::Exact(String::new()),
            [Piece::Literal(text)] => return Rule::Exact(text.clone()),
            [Piece::Free(free)] => {
                if let Some(rule) = free.whole() {
                    return Rule::Rule(rule.to_owned());
                }
            }
            _ => {}
        }
        let mut out = String::from("^");
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(&escape(text)),
                Piece::Free(free) => out.push_str(&free.pattern(pod_name)),
                Piece::Pattern(pattern) => out.push_str(pattern),
            }
        }
        out.push('$');
        Rule::Rule(out)
    }

    /// The text with each gap filled by what a cluster would write there.
    pub(crate) fn sample(&self, of: &dyn Fn(Free) -> String) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.clone(),
                Piece::Free(free) => of(*free),
                Piece::Pattern(pattern) if pattern.contains('.') => "10.0.0.1".to_owned(),
                Piece::Pattern(_) => "443".to_owned(),
            })
            .collect()
    }

    /// Expands `$(NAME)` as the kubelet does (`third_party/forked/golang/expansion`): `$$` is an
    /// escaped `$`, an unknown name stays as written.
    pub(crate) fn expand(input: &str, values: &BTreeMap<String, Self>) -> Self {
        let mut out = Self::default();
        let mut rest = input;
        while let Some(at) = rest.find('$') {
            let (before, tail) = rest.split_at(at);
            out.push_str(before);
            let tail = tail.strip_prefix('$').unwrap_or(tail);
            if let Some(tail) = tail.strip_prefix('$') {
                out.push_str("$");
                rest = tail;
            } else if let Some(inner) = tail.strip_prefix('(') {
                match inner.split_once(')') {
                    Some((name, tail)) => {
                        match values.get(name) {
                            Some(value) => out.push(value),
                            None => out.push_str(&format!("$({name})")),
                        }
                        rest = tail;
                    }
                    None => {
                        out.push_str("$(");
                        rest = inner;
                    }
                }
            } else {
                // A lone `$` and the character after it stay.
                out.push_str("$");
                let next = tail.chars().next().map_or(0, char::len_utf8);
                let (kept, tail) = tail.split_at(next);
                out.push_str(kept);
                rest = tail;
            }
        }
        out.push_str(rest);
        out
    }
}

/// A literal inside a regular expression.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$#&-~".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> String {
        let values = BTreeMap::from([
            ("A".to_owned(), Text::literal("1")),
            ("EMPTY".to_owned(), Text::literal("")),
        ]);
        match Text::expand(text, &values).rule("^p$") {
            Rule::Exact(text) | Rule::Rule(text) => text,
        }
    }

    #[test]
    fn expansion_is_the_kubelets() {
        // Cases after the kubelet's own table (third_party/forked/golang/expansion).
        for (text, expanded) in [
            ("$(A)", "1"),
            ("___$(A)___", "___1___"),
            ("$(A)$(A)", "11"),
            ("$(NONE)", "$(NONE)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$(EMPTY)", ""),
            ("foo$", "foo$"),
            ("foo$$", "foo$"),
            ("$(A", "$(A"),
            ("$A", "$A"),
            ("$(A)x)", "1x)"),
            ("a$b$(A)", "a$b1"),
        ] {
            assert_eq!(expand(text), expanded, "{text}");
        }
    }

    #[test]
    fn gaps_become_the_narrowest_rule() {
        assert_eq!(
            Text::free(Free::PodName).rule("^p$"),
            Rule::Rule("@pod".to_owned())
        );
        let values = BTreeMap::from([("IP".to_owned(), Text::free(Free::PodIp))]);
        let Rule::Rule(rule) = Text::expand("tcp://$(IP):80/a.b", &values).rule("^p$") else {
            panic!("an address is no literal");
        };
        assert!(
            rule.starts_with("^tcp://(") && rule.ends_with(":80/a\\.b$"),
            "{rule}"
        );
    }
}
