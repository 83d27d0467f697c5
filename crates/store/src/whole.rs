//! One wait for many files: syncfs(2), where it is known to do what fsync(2) of each file does.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{fstatfs, syncfs};
use rustix::system::uname;

/// File systems whose `sync_fs` waits for data and names: ext2 to ext4, XFS, Btrfs; and tmpfs, which nothing
/// survives anyway. Elsewhere it may do nothing (FUSE and virtiofs) or be another machine's affair (NFS).
/// Numbers of statfs(2).
const KNOWN: &[u32] = &[0x0000_EF53, 0x5846_5342, 0x9123_683E, 0x0102_1994];
/// The first Linux whose syncfs(2) tells of writes that failed.
const TELLS_ERRORS: (u32, u32) = (5, 8);

/// The file system of a directory. Failures of writes that came after opening it are told.
pub(crate) struct Whole(File);

impl Whole {
    /// `None` where each file has to be synced by itself.
    pub(crate) fn of(directory: &Path) -> io::Result<Option<Whole>> {
        let file = File::open(directory)?;
        let kind = u32::try_from(fstatfs(&file)?.f_type).ok();
        let known = kind.is_some_and(|kind| KNOWN.contains(&kind)) && kernel_tells_errors();
        Ok(known.then_some(Whole(file)))
    }

    /// Waits until everything that was written to it is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(syncfs(&self.0)?)
    }
}

fn kernel_tells_errors() -> bool {
    version(&uname().release().to_string_lossy()).is_some_and(|version| version >= TELLS_ERRORS)
}

/// Major and minor of `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        for (release, expected) in [
            ("5.7.19", false),
            ("5.8.0", true),
            ("5.15.0-1053-aws", true),
            ("6.1.0-18-amd64", true),
            ("10.0-rc1", true),
            ("4.19.0", false),
        ] {
            let tells = version(release).unwrap() >= TELLS_ERRORS;
            assert_eq!(tells, expected, "{release}");
        }
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn a_file_system_of_no_disk_is_not_known() {
        assert!(Whole::of(Path::new("/proc")).unwrap().is_none());
        let memory = Whole::of(Path::new("/dev/shm")).unwrap();
        assert_eq!(memory.is_some(), kernel_tells_errors());
        if let Some(memory) = memory {
            memory.sync().unwrap();
        }
    }
}
