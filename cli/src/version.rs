//! What `nacre --version` says: the program, and the versions of what it renders.

use std::sync::LazyLock;

use nacre_findings::Finding;
use nacre_imagelock::ImageLock;
use nacre_policy::rules;
use nacre_policy::target::TARGETS;

/// Several lines, the first of which is the version alone.
pub(crate) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    &TEXT
}

fn text() -> String {
    let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let mut text = format!(
        "{}\nrules      {} sha256:{}\ntargets    {}\n",
        env!("CARGO_PKG_VERSION"),
        rules::VERSION,
        rules::digest(),
        targets.join(", ")
    );
    let mut heading = "platforms ";
    for platform in nacre_platform::platforms() {
        text.push_str(&format!("{heading} {}\n", platform.runtime_class_name()));
        heading = "          ";
    }
    text.push_str(&images(nacre_framing::settings::release_lock().as_ref()));
    text
}

/// The images that this program knows by digest without a lock.
fn images(lock: Result<&Option<ImageLock>, &Finding>) -> String {
    let lock = match lock {
        Ok(Some(lock)) => lock,
        Ok(None) => return "images     no release: lock those of your own build".to_owned(),
        Err(finding) => return format!("images     {}", finding.message),
    };
    let mut lines = Vec::new();
    for entry in lock.entries() {
        let heading = if lines.is_empty() { "images " } else { "" };
        lines.push(format!("{heading:<11}{} {}", entry.reference, entry.digest));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use nacre_imagelock::{Entry, ImageReference};

    use super::*;

    #[test]
    fn the_release_is_named_by_its_digests() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let mut lock = ImageLock::default();
        for name in ["coordinator", "mesh"] {
            let reference = ImageReference::parse(&format!("registry.example/{name}:v1")).unwrap();
            lock.insert(Entry::new(reference, digest.parse().unwrap()));
        }
        let lock = Some(lock);
        assert_eq!(
            images(Ok(&lock)),
            format!(
                "images     registry.example/coordinator:v1 {digest}\n           registry.example/mesh:v1 {digest}"
            )
        );
        assert_eq!(
            images(Ok(&None)),
            "images     no release: lock those of your own build"
        );
    }
}
