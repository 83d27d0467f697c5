//! NCR03xx: the image lock and registries.

codes! {
    300;
    IMAGE_NOT_LOCKED = 301, "Image not in the lock",
        "An image of a selected workload has no entry in the image lock, so its content cannot be pinned.",
        "Run `nacre lock` on the same input and commit the lock.";
}
