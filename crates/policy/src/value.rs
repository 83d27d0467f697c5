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
    /// The index of a pod of an Indexed Job.
    Index,
    /// Whatever the host says: a Secret's value.
    Anything,
}

/// An address of either family; brackets as in a URL. The data of a target hold it once.
pub(crate) const IP: &str = "\\[?[0-9a-f.:]{2,39}\\]?";

/// The index of a pod of an Indexed Job.
pub(crate) const INDEX: &str = "[0-9]{1,7}";

/// What the rules fill in from the state of the guest (`fill` there).
const PLACEHOLDERS: &[&str] = &[
    "{cid}", "{host}", "{ip}", "{netns}", "{pod}", "{sid}", "{uid}",
];

impl Free {
    /// Every pattern that stands for something of the cluster, longer ones before those they begin with.
    pub(crate) fn patterns() -> Vec<String> {
        let all = [
            Self::PodIps,
            Self::PodIp,
            Self::PodName,
            Self::PodUid,
            Self::Hostname,
            Self::NodeName,
            Self::Number,
            Self::Index,
            Self::Anything,
        ];
        all.map(Self::pattern).into()
    }

    /// How the rules are told, if the whole value is this.
    fn whole(self) -> Option<&'static str> {
        match self {
            Self::PodIp | Self::PodIps => Some("@ip"),
            _ => None,
        }
    }

    /// What stands for it in a longer text, where the state knows it exactly.
    fn placeholder(self) -> Option<&'static str> {
        match self {
            Self::PodName => Some("{pod}"),
            Self::PodUid => Some("{uid}"),
            Self::Hostname => Some("{host}"),
            _ => None,
        }
    }

    /// The narrowest pattern otherwise.
    fn pattern(self) -> String {
        match self {
            Self::PodName => "{pod}".to_owned(),
            Self::PodUid => "{uid}".to_owned(),
            Self::Hostname => "{host}".to_owned(),
            Self::PodIp | Self::HostIp => "{ip}".to_owned(),
            Self::PodIps => "{ip}(,{ip})*".to_owned(),
            Self::NodeName => "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?".to_owned(),
            Self::Number => "[0-9]{1,20}".to_owned(),
            Self::Index => INDEX.to_owned(),
            Self::Anything => "[\\s\\S]*".to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Free(Free),
    Ip,
}

/// A text with gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Piece>);

/// What the rules compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Exactly this.
    Exact(String),
    /// `=` and a text with placeholders, `^` and a pattern, or `@` and the name of a list.
    Rule(String),
}

impl Rule {
    /// The rule as one text.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Rule(rule) => rule,
            Self::Exact(text) if PLACEHOLDERS.iter().any(|p| text.contains(p)) => {
                format!("^{}$", escape(&text))
            }
            Self::Exact(text) => format!("={text}"),
        }
    }
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

    /// A literal frame around an address that the cluster gives a Service.
    pub(crate) fn address(before: &str, after: &str) -> Self {
        let mut out = Self::literal(before);
        out.0.push(Piece::Ip);
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

    /// What the rules compare with.
    pub(crate) fn rule(&self) -> Rule {
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
        let filled: Option<String> = self
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) if PLACEHOLDERS.iter().any(|p| text.contains(p)) => None,
                // The rules fill in one name after the other: one of the cluster's must not complete another.
                Piece::Literal(text) if begins_placeholder(text) || ends_placeholder(text) => None,
                Piece::Literal(text) => Some(text.as_str()),
                Piece::Free(free) => free.placeholder(),
                Piece::Ip => None,
            })
            .collect();
        if let Some(text) = filled {
            return Rule::Rule(format!("={text}"));
        }
        let mut out = String::from("^");
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(&escape(text)),
                Piece::Free(free) => out.push_str(&free.pattern()),
                Piece::Ip => out.push_str("{ip}"),
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
                Piece::Ip => "10.0.0.1".to_owned(),
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

/// Whether a text ends like the beginning of a placeholder: a brace and letters, perhaps none.
fn begins_placeholder(text: &str) -> bool {
    let open = text.rsplit_once('{').map(|(_, name)| name);
    open.is_some_and(|name| name.bytes().all(|b| b.is_ascii_lowercase()))
}

/// Whether a text begins like the end of a placeholder.
fn ends_placeholder(text: &str) -> bool {
    let close = text.split_once('}').map(|(name, _)| name);
    close.is_some_and(|name| name.bytes().all(|b| b.is_ascii_lowercase()))
}

/// What has a meaning in a regular expression.
const SPECIAL: &str = "\\.+*?()|[]{}^$#&-~";

/// What follows one character of a literal as [`escape`] writes it.
pub(crate) fn after_literal(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    let first = chars.next()?;
    let is_literal = match first {
        '\\' => SPECIAL.contains(chars.next()?),
        other => !SPECIAL.contains(other),
    };
    is_literal.then_some(chars.as_str())
}

/// A literal inside a regular expression.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if SPECIAL.contains(c) {
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
        match Text::expand(text, &values).rule() {
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
        let rule = |text: &Text| text.rule().into_text();
        assert_eq!(rule(&Text::free(Free::PodName)), "={pod}");
        assert_eq!(rule(&Text::free(Free::PodIps)), "@ip");
        assert_eq!(rule(&Text::literal("a{b}")), "=a{b}");
        // A text of the pod's own that looks like a placeholder is none.
        assert_eq!(rule(&Text::literal("a{pod}")), "^a\\{pod\\}$");
        let values = BTreeMap::from([
            ("IP".to_owned(), Text::free(Free::PodIp)),
            ("POD".to_owned(), Text::free(Free::PodName)),
        ]);
        let expanded = |text| rule(&Text::expand(text, &values));
        let ip = expanded("tcp://$(IP):80/a.b");
        assert_eq!(ip, "^tcp://{ip}:80/a\\.b$");
        assert_eq!(expanded("--name=$(POD).svc"), "=--name={pod}.svc");
        assert_eq!(expanded("{uid}$(POD)"), "^\\{uid\\}{pod}$");
        // A pod named `uid` or `id` would make a placeholder of these.
        assert_eq!(expanded("{$(POD)}"), "^\\{{pod}\\}$");
        assert_eq!(expanded("{u$(POD)"), "^\\{u{pod}$");
        assert_eq!(expanded("$(POD)id}"), "^{pod}id\\}$");
        assert_eq!(expanded("{\"a\":\"$(POD)\"}"), "={\"a\":\"{pod}\"}");
    }
}
