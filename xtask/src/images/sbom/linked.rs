//! What is linked into every program beside the packages that cargo names: Rust's library and its parts, the C
//! library, the compiler's runtime. Versions are those that the installed files give themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::super::TARGET;
use super::{Component, Origin};
use crate::{process, workspace};

/// Crates that Rust's library is made of, with the licences that they declare.
const PARTS: &[(&str, &str)] = &[
    ("addr2line", "Apache-2.0 OR MIT"),
    ("adler2", "0BSD OR MIT OR Apache-2.0"),
    ("cfg-if", "MIT OR Apache-2.0"),
    ("gimli", "MIT OR Apache-2.0"),
    ("hashbrown", "MIT OR Apache-2.0"),
    ("libc", "MIT OR Apache-2.0"),
    ("memchr", "Unlicense OR MIT"),
    ("miniz_oxide", "MIT OR Zlib OR Apache-2.0"),
    ("object", "Apache-2.0 OR MIT"),
    ("rustc-demangle", "MIT OR Apache-2.0"),
];

/// Crates beside it that only tests and procedural macros are linked with.
const NOT_LINKED: &[&str] = &["getopts", "rustc-literal-escaper"];

/// Everything of this kind.
pub(super) fn components() -> Result<Vec<Component>> {
    let mut components = rust()?;
    components.push(c_library()?);
    components.push(compiler_runtime()?);
    Ok(components)
}

/// Rust's library, its intrinsics, and the crates in it.
fn rust() -> Result<Vec<Component>> {
    let version = process::output(rustc().arg("--version"))?;
    let version = version
        .split(' ')
        .nth(1)
        .with_context(|| format!("rustc says {version:?}"))?;
    let own = |name: &str, licence: &str| Component {
        name: name.to_owned(),
        version: version.to_owned(),
        licence: licence.to_owned(),
        origin: Origin::Generic,
    };
    let mut components = vec![
        own("rust-std", "(MIT OR Apache-2.0) AND Unicode-3.0"),
        own(
            "rust-compiler-builtins",
            "MIT AND Apache-2.0 WITH LLVM-exception AND (MIT OR Apache-2.0)",
        ),
    ];
    let folder = process::output(rustc().args(["--print", "target-libdir", "--target", TARGET]))?;
    for (name, version) in parts(Path::new(folder.trim_end()))? {
        let known = PARTS.iter().find(|(known, _)| *known == name);
        let (_, licence) = known.with_context(|| {
            format!("Rust's library has a new part, {name} {version}: add its licence to PARTS")
        })?;
        components.push(Component {
            name,
            version,
            licence: (*licence).to_owned(),
            origin: Origin::Cargo,
        });
    }
    Ok(components)
}

/// The rustc of cargo.
fn rustc() -> Command {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.current_dir(workspace::root());
    rustc
}

/// Name → version of the crates whose metadata are in a folder: they name the files that they came from.
fn parts(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("no Rust library in {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "rmeta")
        {
            let part = part(&fs::read(&path)?);
            found.extend(part.filter(|(name, _)| !NOT_LINKED.contains(&name.as_str())));
        }
    }
    if found.is_empty() {
        bail!("no file in {} says what it was made of", folder.display());
    }
    Ok(found)
}

/// Name and version in the first `/rust/deps/<name>-<version>/` of a file; in-tree crates have none.
fn part(bytes: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.split_once("/rust/deps/")?;
    let (name, version) = rest.split_once('/')?.0.rsplit_once('-')?;
    Some((name.to_owned(), version.to_owned()))
}

/// The C library that the linker takes.
fn c_library() -> Result<Component> {
    let file = process::output(cc().arg("-print-file-name=libc.a"))?;
    let file = PathBuf::from(file.trim_end());
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let banner = text.split_once("GNU C Library (");
    let component = banner.and_then(|(_, banner)| glibc(banner));
    component.with_context(|| format!("{} is not the GNU C library", file.display()))
}

/// From what follows `GNU C Library (`: `Debian GLIBC 2.36-9) stable release version 2.36.`
fn glibc(banner: &str) -> Option<Component> {
    let (distribution, rest) = banner.split_once(')')?;
    let release = rest.split_once("release version ")?.1;
    let release = release.split(['\n', '\0']).next()?.trim_end_matches('.');
    let debian = distribution.strip_prefix("Debian GLIBC ");
    Some(Component {
        name: "glibc".to_owned(),
        version: debian.unwrap_or(release).to_owned(),
        licence: "LGPL-2.1-or-later".to_owned(),
        origin: debian.map_or(Origin::Generic, |_| Origin::Debian("glibc".to_owned())),
    })
}

/// Of the compiler that links: `libgcc.a` and `libgcc_eh.a`.
fn compiler_runtime() -> Result<Component> {
    let file = process::output(cc().arg("-print-libgcc-file-name"))?;
    if !Path::new(file.trim_end()).is_file() {
        bail!("cc has no libgcc.a, but names {file:?}");
    }
    let banner = process::output(cc().arg("--version"))?;
    libgcc(&banner).with_context(|| format!("cc says {banner:?}"))
}

/// From the first line of `gcc --version`: `gcc (Debian 12.2.0-14) 12.2.0`.
fn libgcc(banner: &str) -> Option<Component> {
    let (_, rest) = banner.lines().next()?.split_once('(')?;
    let (distribution, release) = rest.rsplit_once(") ")?;
    let debian = distribution.strip_prefix("Debian ");
    let major = release.split('.').next()?;
    Some(Component {
        name: "libgcc".to_owned(),
        version: debian.unwrap_or(release).to_owned(),
        licence: "GPL-3.0-or-later WITH GCC-exception-3.1".to_owned(),
        origin: debian.map_or(Origin::Generic, |_| Origin::Debian(format!("gcc-{major}"))),
    })
}

/// The linker's driver, as rustc calls it for this target.
fn cc() -> Command {
    let mut cc = Command::new("cc");
    cc.env("LC_ALL", "C");
    cc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_are_read() {
        let debian =
            glibc("Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.\nCopy").unwrap();
        assert_eq!(debian.version, "2.36-9+deb12u14");
        assert_eq!(debian.origin, Origin::Debian("glibc".to_owned()));
        let plain = glibc("GNU libc) stable release version 2.40.\n").unwrap();
        assert_eq!(plain.version, "2.40");
        assert_eq!(plain.origin, Origin::Generic);
        assert_eq!(glibc("musl"), None);

        let debian = libgcc("gcc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright").unwrap();
        assert_eq!(debian.version, "12.2.0-14+deb12u1");
        assert_eq!(debian.origin, Origin::Debian("gcc-12".to_owned()));
        let plain = libgcc("gcc (GCC) 15.1.0\n").unwrap();
        assert_eq!(plain.version, "15.1.0");
        assert_eq!(libgcc("Apple clang version 17.0.0\n"), None);
    }

    #[test]
    fn crates_are_told_by_the_files_they_came_from() {
        let bytes = b"\0\x01/rust/deps/cfg-if-1.0.4/src/lib.rs\0/rust/deps/object-0.37.3/";
        let expected = ("cfg-if".to_owned(), "1.0.4".to_owned());
        assert_eq!(part(bytes), Some(expected));
        assert_eq!(part(b"/rustc/5980/library/core/src/lib.rs"), None);
    }

    #[test]
    fn everything_that_this_machine_links_has_a_version_and_a_licence() {
        let components = components().unwrap();
        let names: Vec<&str> = components.iter().map(|c| c.name.as_str()).collect();
        for name in [
            "rust-std",
            "rust-compiler-builtins",
            "hashbrown",
            "glibc",
            "libgcc",
        ] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        for Component {
            name,
            version,
            licence,
            ..
        } in &components
        {
            let is_number = version.starts_with(|c: char| c.is_ascii_digit());
            assert!(is_number && !licence.is_empty(), "{name} {version}");
        }
    }
}
