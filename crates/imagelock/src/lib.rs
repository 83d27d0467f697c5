//! The image lock: digest and configuration facts of every image, read offline.
