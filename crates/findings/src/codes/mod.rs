//! The registry of stable codes. One file per range; a number never changes its meaning and is
//! never used again.

use std::fmt;

use serde::{Serialize, Serializer};

/// Declares the codes of one range: `codes! { 900; NAME = 901, "title", "explanation", "fix"; }`.
///
/// Each name becomes a documented `pub const NAME: Code`; all become the file's `ALL`. A number
/// outside the hundred of the range does not compile.
macro_rules! codes {
    ($base:literal; $($name:ident = $number:literal, $title:literal, $explanation:literal, $fix:literal;)+) => {
        $(
            #[doc = $title]
            #[doc = ""]
            #[doc = $explanation]
            pub const $name: $crate::codes::Code = $crate::codes::Code::new($number);
            const _: () = assert!($number > $base && $number < $base + 100, "code outside its range");
        )+
        /// Every code of this range, in the order of the file.
        pub const ALL: &[$crate::codes::CodeInfo] = &[
            $($crate::codes::CodeInfo {
                code: $name,
                title: $title,
                explanation: $explanation,
                fix: $fix,
            },)+
        ];
    };
}

pub mod attest;
pub mod check;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod coordinator;
pub mod generate;
pub mod history;
pub mod input;
pub mod lock;
pub mod manifest;
pub mod policy;
pub mod workload;

/// Title and content of each range, in order of numbers.
const RANGES: &[(&str, &[CodeInfo])] = &[
    ("NCR01xx: reading input", input::ALL),
    ("NCR02xx: configuration", config::ALL),
    ("NCR03xx: image lock and registries", lock::ALL),
    ("NCR04xx: workloads", workload::ALL),
    ("NCR05xx: policies", policy::ALL),
    ("NCR06xx: manifests", manifest::ALL),
    ("NCR07xx: generating", generate::ALL),
    ("NCR08xx: checking and comparing", check::ALL),
    ("NCR09xx: files and command line", cli::ALL),
    ("NCR10xx: attestation", attest::ALL),
    ("NCR11xx: the history of manifests", history::ALL),
    ("NCR12xx: the Coordinator", coordinator::ALL),
    ("NCR13xx: set, verify, recover", client::ALL),
    ("NCR15xx: clusters", cluster::ALL),
];

/// A stable number, written `NCR0301`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// The code with this number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The bare number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its entry in the registry.
    pub fn info(self) -> Option<&'static CodeInfo> {
        all().find(|info| info.code == self)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NCR{:04}", self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the registry says about one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeInfo {
    /// The number.
    pub code: Code,
    /// A few words.
    pub title: &'static str,
    /// What has happened and why it matters.
    pub explanation: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// Every registered code, range by range.
pub fn all() -> impl Iterator<Item = &'static CodeInfo> {
    RANGES.iter().flat_map(|(_, infos)| infos.iter())
}

/// The text of `docs/errors.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Codes\n\n\
         <!-- Generated from crates/findings/src/codes; edit there, then run `cargo xtask codegen`. -->\n\n\
         Every finding and every error of Nacre carries one of these codes. A number keeps its\n\
         meaning for good.\n",
    );
    for (title, infos) in RANGES {
        out.push_str(&format!("\n## {title}\n"));
        let mut infos: Vec<&CodeInfo> = infos.iter().collect();
        infos.sort_by_key(|info| info.code);
        for info in infos {
            out.push_str(&format!(
                "\n### {}\n\n**{}.** {}\n\n*What to do:* {}\n",
                info.code, info.title, info.explanation, info.fix
            ));
        }
    }
    out
}
