//! Values that pin what they seem to pin: those that [`crate::generate()`] writes, and no wider ones.

use nacre_imagelock::ImageReference;
use serde_json::Value;

use crate::mounts::{block_storage, clean_guest_path, guest_storage, is_plain};
use crate::pod::{object, text};
use crate::target::Target;
use crate::value::{Free, after_literal};

/// Pieces of the names that controllers give pods and the kubelet gives sandboxes (`pod::name_pattern`,
/// `names`): classes of letters, how many of them, what may be left out, a choice between two names.
const NAME_CLASSES: &[&str] = &["[b-df-hj-np-tv-xz24-9]", "[a-z0-9.-]", "[0-9]"];

/// Whether a variable or an argument has a rule that `value::Text::rule` writes.
pub(super) fn is_rule(rule: &Value) -> bool {
    let Some(rule) = rule.as_str() else {
        return false;
    };
    if rule.starts_with('=') || rule == "@ip" {
        return true;
    }
    let patterns = Free::patterns();
    consists_of(rule, |rest| {
        let pattern = patterns.iter().find_map(|p| rest.strip_prefix(p.as_str()));
        pattern.or_else(|| after_literal(rest))
    })
}

/// Whether it is exactly one text.
fn is_exact(rule: &str) -> bool {
    consists_of(rule, after_literal)
}

/// Whether a rule of a name begins with a part of that name, and goes on as names do.
pub(super) fn is_name(rule: &Value) -> bool {
    let Some(rule) = rule.as_str() else {
        return false;
    };
    if let Some(exact) = rule.strip_prefix('=') {
        return !exact.is_empty();
    }
    let begins = rule.strip_prefix('^').is_some_and(|inner| {
        let inner = inner.strip_prefix("({pod}|").unwrap_or(inner);
        inner.starts_with("{pod}") || after_literal(inner).is_some_and(|rest| !rest.is_empty())
    });
    begins
        && consists_of(rule, |rest| {
            if let Some(rest) = ["({pod}|", "{pod}", "([0-9]{1,7}-)?", ")", "-"]
                .iter()
                .find_map(|piece| rest.strip_prefix(piece))
            {
                return Some(rest);
            }
            match NAME_CLASSES
                .iter()
                .find_map(|class| rest.strip_prefix(class))
            {
                Some(rest) => after_count(rest),
                None => after_literal(rest),
            }
        })
}

/// What follows `{n}` or `{n,m}`.
fn after_count(rest: &str) -> Option<&str> {
    let (count, rest) = rest.strip_prefix('{')?.split_once('}')?;
    let mut numbers = count.split(',').map(str::parse::<u16>);
    let most = numbers.by_ref().last()?.ok()?;
    (most <= 253 && count.split(',').count() <= 2).then_some(rest)
}

/// Whether a pattern is anchored and made of pieces; `piece` takes one from the front.
fn consists_of(rule: &str, piece: impl Fn(&str) -> Option<&str>) -> bool {
    let Some(mut rest) = rule.strip_prefix('^').and_then(|r| r.strip_suffix('$')) else {
        return false;
    };
    while !rest.is_empty() {
        match piece(rest) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

/// Whether every reference has a digest.
pub(super) fn are_pinned(images: &Value) -> bool {
    let images = images.as_array().map_or(&[][..], Vec::as_slice);
    let is_pinned = |image: &Value| image.as_str().is_some_and(ImageReference::is_pinned);
    !images.is_empty() && images.iter().all(is_pinned)
}

/// Whether a container's own mounts come from a copied file, a storage of the data, a block volume, or a part of
/// the guest's kernel.
pub(super) fn have_known_sources(container: &Value, data: &Value) -> bool {
    let is_known = |mount: &Value| {
        let Some(source) = mount.get(1).and_then(Value::as_str) else {
            return false;
        };
        if let Some(name) = source.strip_prefix("{file}") {
            return is_plain(name);
        }
        if let Some(volume) = source.strip_prefix("{block}") {
            return is_plain(volume) && data.get("block").is_some();
        }
        let is_storage = object(data, "storages").is_some_and(|all| all.contains_key(source));
        let clean = source.trim_end_matches('/');
        let is_guests = !source.contains('{')
            && !source.split('/').any(|part| part == "..")
            && clean_guest_path(source).is_some_and(|path| path == clean);
        is_storage || is_guests
    };
    object(container, "mounts").is_some_and(|mounts| mounts.values().all(is_known))
}

/// Whether storages are those that the guest makes for `emptyDir` volumes.
pub(super) fn are_guest_storages(data: &Value) -> bool {
    let is_ours = |(point, storage): (&String, &Value)| {
        let options = storage.get("options").and_then(Value::as_array);
        let group = options
            .into_iter()
            .flatten()
            .find_map(|option| option.as_str()?.strip_prefix("fsgid="))
            .map(str::parse);
        match group.transpose() {
            Ok(group) => guest_storage(point, group).is_some_and(|expected| expected == *storage),
            Err(_) => false,
        }
    };
    let storages = object(data, "storages");
    storages.into_iter().flatten().all(is_ours)
}

/// Whether block volumes, where there are any, are encrypted with a key that nobody keeps.
pub(super) fn is_encrypted(data: &Value) -> bool {
    let Some(block) = data.get("block") else {
        return true;
    };
    let group = block.pointer("/fs_group/group_id").and_then(Value::as_u64);
    *block == block_storage(group)
}

/// Whether annotations are the runtime's, and those for Kata with one value each.
pub(super) fn are_annotations(target: &Target, data: &Value) -> bool {
    let known = target.annotations();
    let annotations = data.get("pod").and_then(|pod| object(pod, "annotations"));
    annotations.is_some_and(|annotations| {
        annotations.iter().all(|(key, shape)| {
            let shape = shape.as_str().unwrap_or_default();
            known.get(key).is_some_and(|known| known == shape)
                || key.starts_with("io.katacontainers.") && is_exact(shape)
        })
    })
}

/// Whether the names of a pod are names.
pub(super) fn are_names(data: &Value) -> bool {
    let pod = data.get("pod").unwrap_or(&Value::Null);
    let part = |key: &str| pod.get(key).unwrap_or(&Value::Null);
    ["host", "hostname", "name"]
        .iter()
        .all(|key| is_name(part(key)))
        && text(pod, "namespace").is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_are_told_from_wider_ones() {
        for rule in [
            "=",
            "=x",
            "={pod}",
            "@ip",
            "^tcp://{ip}:80/a\\.b$",
            "^[0-9]{1,20}$",
            "^[\\s\\S]*$",
            "^a\\{pod\\}$",
            "^{ip}(,{ip})*$",
            "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
            "^$",
        ] {
            assert!(is_rule(&json!(rule)), "{rule}");
        }
        for rule in [
            "", "x", "^.*$", "^a", "a$", "^a|b$", "^(a)$", "^a?$", "^[a-z]$", "^x\\$", "@names",
            "^\\d$", "^x{3}$",
        ] {
            assert!(!is_rule(&json!(rule)), "{rule}");
        }
        assert!(!is_rule(&json!(1)));
    }

    #[test]
    fn names_begin_with_a_part_of_the_name() {
        for rule in [
            "^web-[b-df-hj-np-tv-xz24-9]{1,10}-[b-df-hj-np-tv-xz24-9]{5}$",
            "^db\\-[0-9]{1,9}$",
            "={pod}",
            "^{pod}\\.svc$",
            "^({pod}|long[a-z0-9.-]{0,5})$",
            "^job-([0-9]{1,7}-)?[0-9]{1,7}$",
        ] {
            assert!(is_name(&json!(rule)), "{rule}");
        }
        for rule in [
            "",
            "=",
            "^$",
            "^.*$",
            "^[a-z0-9.-]{0,253}$",
            "^web[a-z0-9.-]*$",
            "^web[a-z0-9.-]{0,900}$",
            "^([0-9]{1,7}-)?$",
        ] {
            assert!(!is_name(&json!(rule)), "{rule}");
        }
    }
}
