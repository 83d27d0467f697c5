//! Which workloads become confidential.

use crate::names::RUNTIME_CLASS;

/// Why a workload is in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// Its `runtimeClassName` says so.
    ByRuntimeClass,
    /// A selector of the configuration says so; the runtime class is still to be written.
    BySelector,
}

/// Whether a runtime class name is in scope: the placeholder with any suffix, so that a misspelt
/// platform is an error instead of an ordinary pod.
pub fn is_confidential_class(name: &str) -> bool {
    name.starts_with(RUNTIME_CLASS)
}

/// Whether a workload is in scope, and why. `selector` is asked only when the class does not say.
pub fn selected(class: Option<&str>, selector: impl FnOnce() -> bool) -> Option<Selected> {
    if class.is_some_and(is_confidential_class) {
        return Some(Selected::ByRuntimeClass);
    }
    selector().then_some(Selected::BySelector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_class_selects() {
        for (class, wanted) in [
            (Some("contrast-cc"), true),
            (Some("contrast-cc-metal-qemu-snp"), true),
            (Some("contrast-cc-metal-qemu-snp-0123abcd"), true),
            (Some("contrast-ccx"), true),
            (Some("kata"), false),
            (None, false),
        ] {
            assert_eq!(selected(class, || false).is_some(), wanted, "{class:?}");
            assert!(selected(class, || true).is_some(), "{class:?}");
        }
    }
}
