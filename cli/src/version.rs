//! What `nacre --version` says: the program, and the versions of what it renders.

use std::sync::LazyLock;

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
    text.truncate(text.trim_end().len());
    text
}
