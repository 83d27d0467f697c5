//! The limit on open files.

use std::process::Command;

use rustix::process::{Resource, getrlimit};

use crate::support::Deployment;

/// A soft limit that is lower than what a Coordinator promises places for.
const LOW: u64 = 200;

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_it_goes() {
    // The limit is that of a whole process.
    let mut child = Command::new("sh");
    child.args([
        "-c",
        r#"ulimit -S -n "$1" && exec "$0" --exact files::child --ignored"#,
    ]);
    child.arg(std::env::current_exe().unwrap());
    let ended = child.arg(LOW.to_string()).output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout);
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "the other process of the_limit_on_open_files_is_raised_as_far_as_it_goes"]
async fn child() {
    let before = getrlimit(Resource::Nofile);
    assert_eq!(before.current, Some(LOW));
    let running = Deployment::new().start().await;
    let after = getrlimit(Resource::Nofile);
    assert_eq!(after.maximum, before.maximum);
    assert_eq!(after.current, after.maximum);
    running.stop().await;
}
