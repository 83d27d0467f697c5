//! The image lock of the cases. The images do not exist; their digests are those of their names.

use nacre_imagelock::{Digest, Entry, ImageLock, ImageReference};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Reference, entrypoint, cmd, user.
const IMAGES: &[(&str, &[&str], &[&str], &str)] = &[
    (
        "ghcr.io/nacre-dev/nacre/initializer:v0.1.0",
        &["/nacre-initializer"],
        &[],
        "0:0",
    ),
    (
        "ghcr.io/nacre-dev/nacre/mesh:v0.1.0",
        &["/nacre-mesh"],
        &[],
        "0:0",
    ),
    (
        "ghcr.io/nacre-dev/nacre/coordinator:v0.1.0",
        &["/nacre-coordinator"],
        &[],
        "0:0",
    ),
    (
        "registry.example.org/app:v1",
        &["/app"],
        &["serve"],
        "65534:65534",
    ),
    ("registry.example.org/tool:v1", &["/tool"], &[], "0:0"),
    ("registry.example.org/bare:v1", &[], &[], "0:0"),
    (
        "nginx:1.27",
        &["/docker-entrypoint.sh"],
        &["nginx", "-g", "daemon off;"],
        "0:0",
    ),
    // From the seed page; the digest is the published one.
    (
        "ghcr.io/edgelesssys/contrast/initializer:v0.8.0@sha256:9492bcb3534de2ffc9f1127db4d5afaa8bba0db466c483a8628d04463c90f568",
        &["/initializer"],
        &[],
        "0:0",
    ),
];

/// All of them.
pub(crate) fn lock() -> ImageLock {
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let mut lock = ImageLock::default();
    for (image, entrypoint, cmd, user) in IMAGES {
        let reference = ImageReference::parse(image).unwrap();
        let digest = reference.digest().copied();
        let mut entry = Entry::new(
            reference,
            digest.unwrap_or_else(|| Digest::of(image.as_bytes())),
        );
        entry.config.entrypoint = words(entrypoint);
        entry.config.cmd = words(cmd);
        entry.config.env = vec![PATH.to_owned()];
        entry.config.user = (*user).to_owned();
        entry.users = Some(nacre_imagelock::UserDatabase::default());
        entry.resolved_user = entry.default_user();
        lock.insert(entry);
    }
    lock
}
