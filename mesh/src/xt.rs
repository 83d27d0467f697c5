//! Interception by iptables, for kernels without nf_tables.
//!
//! The same rules as in `nft`, in two chains of the table `mangle`, for IPv4 and IPv6 each. The
//! programs are those of iptables-legacy and have to be in the image; nothing else is run. Each table
//! of each family is replaced in one step, and both let nothing pass before either lets anything pass.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::rules::{Inbound, MARK, PLAIN, Ruleset};

const INBOUND: &str = "NACRE_MESH_IN";
const OUTBOUND: &str = "NACRE_MESH_OUT";
/// Chain of the table `filter` by which a measured guest keeps everything out until the mesh is ready.
pub const DEFAULT_DENY: &str = "NACRE_DEFAULT_DENY";

/// Why iptables does not intercept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not on `PATH`, or the one that is there drives nf_tables.
    #[error("there is no {0} on PATH")]
    Missing(&'static str),
    /// A program cannot be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A program said no.
    #[error("{} failed: {message}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// What it printed.
        message: String,
    },
}

/// The programs of iptables-legacy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs(Vec<Family>);

/// The programs of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Family {
    v6: bool,
    restore: PathBuf,
    save: PathBuf,
}

/// The table as it was right after the rules had been set, for each family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed(Vec<String>);

impl Programs {
    /// Looks on `PATH`. The programs for IPv6 may be missing only where the kernel has no IPv6.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn find() -> Result<Self, Error> {
        let path =
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let mut families = vec![Family::find(&folders, false)?];
        if Path::new("/proc/sys/net/ipv6").exists() {
            families.push(Family::find(&folders, true)?);
        }
        Ok(Self(families))
    }

    /// Replaces the rules, whatever they were, and lifts the guest's default deny.
    ///
    /// # Errors
    /// What the programs say. What was set stays, so that nothing passes that should not.
    pub fn install(&self, rules: &Ruleset) -> Result<Installed, Error> {
        if rules.inbound.is_some() {
            for family in &self.0 {
                family.replace(&[
                    (
                        INBOUND,
                        "PREROUTING",
                        lines(INBOUND, &["-i lo -j ACCEPT", "-j DROP"]),
                    ),
                    (
                        OUTBOUND,
                        "OUTPUT",
                        lines(OUTBOUND, &["-o lo -j ACCEPT", "-p tcp -j DROP"]),
                    ),
                ])?;
            }
        }
        for family in &self.0 {
            let inbound = rules
                .inbound
                .as_ref()
                .map(|rules| inbound(rules, family.v6));
            family.replace(&[
                (INBOUND, "PREROUTING", inbound.unwrap_or_default()),
                (OUTBOUND, "OUTPUT", outbound(rules)),
            ])?;
            family.lift()?;
        }
        self.0
            .iter()
            .map(|family| family.listing("mangle"))
            .collect::<Result<_, _>>()
            .map(Installed)
    }

    /// Whether nobody has changed the table since.
    ///
    /// # Errors
    /// What the programs say.
    pub fn untouched(&self, before: &Installed) -> Result<bool, Error> {
        for (family, before) in self.0.iter().zip(&before.0) {
            if family.listing("mangle")? != *before {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Family {
    fn find(folders: &[PathBuf], v6: bool) -> Result<Self, Error> {
        let on_path = |name: &str| {
            folders
                .iter()
                .map(|folder| folder.join(name))
                .find(|file| file.is_file())
        };
        let (legacy, plain) = match v6 {
            false => (
                ["iptables-legacy-restore", "iptables-legacy-save"],
                ["iptables-restore", "iptables-save"],
            ),
            true => (
                ["ip6tables-legacy-restore", "ip6tables-legacy-save"],
                ["ip6tables-restore", "ip6tables-save"],
            ),
        };
        for [restore, save] in [legacy, plain] {
            let (Some(restore), Some(save)) = (on_path(restore), on_path(save)) else {
                continue;
            };
            // The programs that drive nf_tables say so.
            if run(&restore, &["--version"], "").is_ok_and(|text| !text.contains("nf_tables")) {
                return Ok(Self { v6, restore, save });
            }
        }
        Err(Error::Missing(legacy[0]))
    }

    /// Gives chains of the table `mangle` these rules and has the built-in chain go through them
    /// first; a chain without rules goes away.
    fn replace(&self, chains: &[(&str, &str, String)]) -> Result<(), Error> {
        let before = self.listing("mangle")?;
        let mut text = String::from("*mangle\n");
        for (chain, hook, rules) in chains {
            let there = before.contains(&format!(":{chain} "));
            if there || !rules.is_empty() {
                // Made, or emptied.
                let _ = writeln!(text, ":{chain} - [0:0]");
            }
            let jump = format!("{hook} -j {chain}");
            for _ in before.lines().filter(|line| **line == format!("-A {jump}")) {
                let _ = writeln!(text, "-D {jump}");
            }
            if !rules.is_empty() {
                let _ = writeln!(text, "{rules}-I {hook} 1 -j {chain}");
            } else if there {
                let _ = writeln!(text, "-X {chain}");
            }
        }
        text.push_str("COMMIT\n");
        run(&self.restore, &["--noflush", "--wait"], &text).map(drop)
    }

    /// Takes the guest's default deny away.
    fn lift(&self) -> Result<(), Error> {
        let before = self.listing("filter")?;
        if !before.contains(&format!(":{DEFAULT_DENY} ")) {
            return Ok(());
        }
        let mut text = String::from("*filter\n");
        let jump = format!("INPUT -j {DEFAULT_DENY}");
        for _ in before.lines().filter(|line| **line == format!("-A {jump}")) {
            let _ = writeln!(text, "-D {jump}");
        }
        let _ = writeln!(text, "-F {DEFAULT_DENY}\n-X {DEFAULT_DENY}\nCOMMIT");
        run(&self.restore, &["--noflush", "--wait"], &text).map(drop)
    }

    /// A table without counters and comments.
    fn listing(&self, table: &str) -> Result<String, Error> {
        let text = run(&self.save, &["-t", table], "")?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Ok(lines.fold(String::new(), |mut all, line| {
            // Chains are followed by their counters in brackets.
            let line = line.split(" [").next().unwrap_or_default();
            all.push_str(line);
            all.push_str(if line.starts_with(':') { " \n" } else { "\n" });
            all
        }))
    }
}

fn inbound(inbound: &Inbound, v6: bool) -> String {
    let mut rules = vec![
        "-i lo -j ACCEPT".to_owned(),
        "-m conntrack --ctstate ESTABLISHED --ctdir REPLY -j ACCEPT".to_owned(),
        format!("-p {} -j ACCEPT", if v6 { 58 } else { 1 }),
    ];
    let ports = |ports: &[u16]| {
        ports
            .iter()
            .map(|port| format!("-p tcp --dport {port}"))
            .collect::<Vec<_>>()
    };
    rules.extend(
        ports(&inbound.plain)
            .iter()
            .map(|tcp| format!("{tcp} -j ACCEPT")),
    );
    if inbound.closing {
        rules.push("-p tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP".to_owned());
    }
    // Without a listener this target drops by itself.
    let intercept = |port| format!("-j TPROXY --on-port {port}");
    for tcp in ports(&inbound.unauthenticated) {
        rules.push(format!("{tcp} {}", intercept(inbound.server_only)));
        rules.push(format!("{tcp} -j DROP"));
    }
    rules.push(format!("-p tcp {}", intercept(inbound.mutual)));
    if inbound.udp {
        rules.push("-p udp -j ACCEPT".to_owned());
    }
    rules.push("-j DROP".to_owned());
    lines(INBOUND, &rules)
}

fn outbound(ruleset: &Ruleset) -> String {
    let mut rules = vec!["-o lo -j ACCEPT".to_owned()];
    if let Some(inbound) = &ruleset.inbound {
        rules.push(format!("-m mark --mark {PLAIN:#x} -j DROP"));
        for port in &inbound.plain {
            rules.push(format!(
                "-p tcp --sport {port} ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT"
            ));
        }
        rules.push(format!(
            "-p tcp -m conntrack --ctdir REPLY -m mark ! --mark {MARK:#x} -j DROP"
        ));
        rules.push(format!(
            "-p tcp -m conntrack --ctstate INVALID,UNTRACKED -m mark ! --mark {MARK:#x} -j DROP"
        ));
        rules.push(
            "-p tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j DROP"
                .to_owned(),
        );
    }
    if ruleset.strict_egress {
        rules.push("-m conntrack --ctstate ESTABLISHED --ctdir REPLY -j ACCEPT".to_owned());
        rules.push("-p 58 -j ACCEPT".to_owned());
        rules.push("-p udp --dport 53 -j ACCEPT".to_owned());
        rules.push("-p tcp --dport 53 -j ACCEPT".to_owned());
        rules.push(format!("-m mark ! --mark {MARK:#x} -j DROP"));
    }
    match rules.len() {
        1 => String::new(),
        _ => lines(OUTBOUND, &rules),
    }
}

fn lines(chain: &str, rules: &[impl AsRef<str>]) -> String {
    rules.iter().fold(String::new(), |mut text, rule| {
        let _ = writeln!(text, "-A {chain} {}", rule.as_ref());
        text
    })
}

/// Runs a program with a text as its standard input and returns what it prints.
fn run(program: &Path, arguments: &[&str], input: &str) -> Result<String, Error> {
    let failed = |source| Error::Run {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input says why on its own.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Failed {
            program: program.to_owned(),
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_in_ends_in_drop() {
        let rules = Inbound {
            mutual: 15006,
            server_only: 15007,
            plain: vec![8080],
            unauthenticated: vec![8001],
            udp: false,
            closing: false,
        };
        let text = inbound(&rules, false);
        assert!(text.ends_with("-A NACRE_MESH_IN -j DROP\n"), "{text}");
        let place = |what: &str| {
            text.find(what)
                .unwrap_or_else(|| panic!("{what} in {text}"))
        };
        assert!(place("--dport 8080 -j ACCEPT") < place("--on-port 15006"));
        assert!(place("--dport 8001 -j TPROXY --on-port 15007") < place("--dport 8001 -j DROP"));
        assert!(place("--dport 8001 -j DROP") < place("--on-port 15006"));
    }

    #[test]
    fn nothing_asked_for_is_no_rule() {
        assert_eq!(outbound(&Ruleset::default()), "");
    }
}
