//! NCR03xx: the image lock and registries.

codes! {
    300;
    IMAGE_NOT_LOCKED = 301, "Image not in the lock",
        "An image of a selected workload has no entry in the image lock, so its content cannot be pinned.",
        "Run `nacre lock` on the same input and commit the lock. Images that you built yourself are locked from where they are, with `--layout FOLDER`.";
    IMAGE_REFERENCE = 302, "Not an image reference",
        "A text that should name an image does not follow the grammar `[registry/]repository[:tag][@sha256:digest]`.",
        "Correct the reference.";
    IMAGE_DIGEST_DISAGREES = 303, "Image digest and lock disagree",
        "The reference carries a digest that is neither the manifest digest nor the index digest in the lock.",
        "Run `nacre lock --update IMAGE PATH…` if the digest is right, or correct the reference.";
    LOCK_PLATFORM = 304, "Image locked for another platform",
        "SEV-SNP guests run linux/amd64; the entry was resolved for something else, and its digest is another image.",
        "Run `nacre lock --platform linux/amd64 --update IMAGE`.";
    LOCK_USER = 305, "Recorded user contradicts the image facts",
        "The uid, gid and groups recorded in a lock entry do not follow from its user, passwd and group facts.",
        "Do not edit the lock by hand; run `nacre lock --update IMAGE PATH…`.";
    IMAGE_TEST_ROOT = 306, "Image built with test roots",
        "The image carries the label `nacre.dev/test-root`: it accepts simulated evidence and protects nothing.",
        "Use a release image.";
    LOCK_INVALID = 307, "Image lock not valid",
        "The lock has unknown fields, malformed digests, an image twice, or an entry changed after it was written.",
        "Correct the named places, or run `nacre lock` anew.";
    LOCK_CONFLICT = 308, "Image locks contradict each other",
        "Two locks have different entries for one reference.",
        "Decide for one: run `nacre lock --update IMAGE PATH…` and remove the other entry.";
    LOCK_DRIFT = 309, "Image lock out of date",
        "`nacre lock --check` found that the lock is not what `nacre lock` would write: an image is missing, no longer used, or its tag has moved.",
        "Run `nacre lock` (for a moved tag `nacre lock --update IMAGE PATH…`) and commit the result.";
    REGISTRY_UNAUTHORISED = 310, "Registry refuses access",
        "The registry wants credentials, or the ones found do not allow pulling this image.",
        "Log in with `docker login` or `podman login`, or name a file with `--auth-file`.";
    REGISTRY_NOT_FOUND = 311, "Image not found",
        "The registry has no such repository, tag or digest; some registries also say so where access is missing.",
        "Check the spelling of the reference; log in if the repository is private.";
    REGISTRY_UNAVAILABLE = 312, "Registry not available",
        "The registry could not be reached, took too long, answered with an error or asks to wait too long.",
        "Try again later, or name a mirror with `--mirror`; `--insecure-registry` is needed for plain HTTP, `--ca-file` for a private certificate authority.";
    CONTENT_MISMATCH = 313, "Content does not match its digest",
        "What was delivered is cut off, too long, or another content than the digest says. It was not used.",
        "Do not go on: the registry or something on the way is broken or hostile.";
    IMAGE_NO_PLATFORM = 314, "Image not available for the platform",
        "The image exists, but not for the platform asked for.",
        "Build or choose an image for linux/amd64.";
    IMAGE_UNSUPPORTED = 315, "Image format not supported",
        "The manifest or configuration is malformed, ambiguous, of an old format, or not that of a container image.",
        "Push the image again with a current tool.";
    IMAGE_STORE = 316, "Layout or archive not usable",
        "The OCI layout folder or archive is incomplete or malformed, or does not say the image's manifest digest.",
        "Write it with `docker save` of Docker 25 or later, `podman save --format oci-archive` or `skopeo copy`.";
    LOCK_OFFLINE = 317, "Image cannot be resolved offline",
        "With `--offline` an image is neither in the present lock nor in a layout or archive.",
        "Run without `--offline`, or give the image with `--layout` or `--archive`.";
    REGISTRY_CREDENTIALS = 318, "Credentials not readable",
        "A docker or podman authentication file or a credential helper is broken.",
        "Correct the named file, or log in again.";
    LOCK_FILES = 319, "File of `nacre lock` not usable",
        "The cache folder or a file needed for locking cannot be read or written.",
        "Check path and permissions, or choose another folder with `--cache-dir`.";
    IMAGE_LAYER = 320, "Image layer not readable",
        "passwd and group of the image could not be read from its layers: unknown compression, malformed archive, or a link that leads nowhere.",
        "Push the image again with a current tool, or give `runAsUser`, `runAsGroup` and `supplementalGroupsPolicy: Strict` in the pod.";
}
