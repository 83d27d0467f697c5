//! What two manifests or rendered sets mean differently.
//!
//! Hashes say that something changed; this says what: image, command, environment, capabilities,
//! mounts, names, reference values, owners.

use serde::Serialize;
use serde_json::Value;

use crate::set::RenderedSet;

mod deployment;
mod pod;
pub(crate) mod render;
mod tree;

/// Everything that differs, grouped by what it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// In order: the deployment as a whole, reference values, workloads, configuration.
    pub groups: Vec<Group>,
}

/// What changed about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What it is: `deployment`, `reference values of …`, `<namespace>/<Kind>/<name>`.
    pub subject: String,
    /// Whether the thing is new, gone or different.
    pub kind: ChangeKind,
    /// What changed about it.
    pub changes: Vec<Change>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What: `container web: image`.
    pub what: String,
    /// Whether it is new, gone or different.
    pub kind: ChangeKind,
    /// As it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// As it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Whether it gives somebody more power, or takes a check away: worth a second look.
    pub widens: bool,
}

/// Whether something is new, gone or different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It is something else now.
    Changed,
}

/// What two manifests mean differently.
pub fn manifests(old: &nacre_manifest::Manifest, new: &nacre_manifest::Manifest) -> Diff {
    let mut groups = deployment::groups(old, new);
    groups.extend(deployment::policies(old, new));
    Diff { groups }.cleaned()
}

/// What two rendered sets mean differently: their pods, their configuration, and the manifests in
/// them.
pub fn sets(old: &RenderedSet, new: &RenderedSet) -> Diff {
    let mut groups = Vec::new();
    let manifest = |set| crate::manifest::extract(set).ok().flatten();
    let (before, after) = (manifest(old), manifest(new));
    if let (Some(before), Some(after)) = (&before, &after) {
        groups.extend(deployment::groups(&before.manifest, &after.manifest));
    }
    let mut workloads = pod::workloads(old, new);
    if let (Some(before), Some(after)) = (&before, &after) {
        for group in deployment::policies(&before.manifest, &after.manifest) {
            merge(&mut workloads, group);
        }
    }
    groups.extend(workloads);
    groups.extend(pod::configuration(old, new));
    Diff { groups }.cleaned()
}

/// What two pods mean differently, by the words of [`Diff`].
pub(crate) fn pods(old: &crate::set::RenderedObject, new: &crate::set::RenderedObject) -> Diff {
    let changes = pod::pods(old, new);
    let subject = new.identity().to_string();
    Diff {
        groups: vec![Group {
            subject,
            kind: ChangeKind::Changed,
            changes,
        }],
    }
    .cleaned()
}

/// Puts the changes of a policy to those of its pod. That the policy itself changed is no news then.
fn merge(groups: &mut Vec<Group>, group: Group) {
    let changes = |group: &Group| -> Vec<Change> {
        group
            .changes
            .iter()
            .filter(|change| change.what != "policy")
            .cloned()
            .collect()
    };
    match groups
        .iter_mut()
        .find(|known| known.subject == group.subject)
    {
        Some(known) if known.kind == group.kind => known.changes.extend(changes(&group)),
        Some(_) => {}
        None => groups.push(group),
    }
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether something gives somebody more power or takes a check away.
    pub fn widens(&self) -> bool {
        self.groups
            .iter()
            .any(|group| group.changes.iter().any(|change| change.widens))
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        render::text(self)
    }

    /// One line for each change, without headings.
    pub fn lines(&self) -> Vec<String> {
        render::lines(self)
    }

    /// For a pull request.
    pub fn markdown(&self) -> String {
        render::markdown(self)
    }

    /// For a program.
    pub fn json(&self) -> Value {
        serde_json::json!({ "different": !self.is_empty(), "widens": self.widens(), "groups": self.groups })
    }

    fn cleaned(mut self) -> Self {
        self.groups
            .retain(|group| group.kind != ChangeKind::Changed || !group.changes.is_empty());
        self
    }
}

impl Change {
    /// A difference of two values; `None` where they are the same.
    pub(crate) fn between(
        what: impl Into<String>,
        old: Option<String>,
        new: Option<String>,
    ) -> Option<Self> {
        if old == new {
            return None;
        }
        let kind = match (&old, &new) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        Some(Self {
            what: what.into(),
            kind,
            old,
            new,
            widens: false,
        })
    }

    pub(crate) fn widening(mut self, widens: bool) -> Self {
        self.widens = widens;
        self
    }
}

/// What was added to and removed from a list whose order does not matter.
pub(crate) fn list_changes(what: &str, old: &[String], new: &[String]) -> Vec<Change> {
    let removed = old.iter().filter(|item| !new.contains(item));
    let added = new.iter().filter(|item| !old.contains(item));
    let removed = removed.filter_map(|item| Change::between(what, Some(item.clone()), None));
    let added = added.filter_map(|item| Change::between(what, None, Some(item.clone())));
    removed.chain(added).collect()
}

#[cfg(test)]
mod tests;
