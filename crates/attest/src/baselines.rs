//! Least firmware versions by date, and what a version below them misses.
//!
//! The data are `data/tcb-baselines.toml`, with a source and a degree of confidence for each number.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::policy::{CpuMatch, MinimumTcb};
use crate::product::{Component, CpuId, Product, Tcb};

/// A set of minima that goes by a date.
#[derive(Debug)]
pub struct Baseline {
    name: String,
    text: String,
    minima: Vec<(Product, Option<CpuMatch>, Tcb)>,
    default: bool,
}

impl Baseline {
    /// The default.
    pub fn newest() -> &'static Self {
        static EMPTY: Baseline = Baseline {
            name: String::new(),
            text: String::new(),
            minima: Vec::new(),
            default: true,
        };
        // Without data every minimum is absent, and an absent minimum is refused.
        DATA.baselines
            .iter()
            .find(|baseline| baseline.default)
            .unwrap_or(&EMPTY)
    }

    /// One by its name.
    pub fn named(name: &str) -> Option<&'static Self> {
        DATA.baselines.iter().find(|baseline| baseline.name == name)
    }

    /// All, newest first.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        DATA.baselines.iter()
    }

    /// Its name, a month.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it stands for.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The minima of one product.
    pub fn minimum(&self, product: Product) -> MinimumTcb {
        let of_product = || self.minima.iter().filter(move |(of, ..)| *of == product);
        MinimumTcb {
            product: of_product()
                .find(|(_, cpu, _)| cpu.is_none())
                .map(|(.., tcb)| *tcb),
            processors: of_product()
                .filter_map(|(_, cpu, tcb)| Some(((*cpu)?, *tcb)))
                .collect(),
        }
    }
}

/// The day the data were compiled.
pub(crate) fn as_of() -> &'static str {
    &DATA.as_of
}

/// A published weakness that firmware versions or platform bits tell about.
#[derive(Debug)]
#[non_exhaustive]
pub struct Advisory {
    /// AMD's number.
    pub id: String,
    /// CVE numbers.
    pub cves: Vec<String>,
    /// What it is.
    pub title: String,
    /// Where the numbers come from.
    pub source: String,
    /// The day that was looked at, `YYYY-MM-DD`.
    pub looked_up: String,
    /// How sure they are: high, medium, low.
    pub confidence: String,
    below: Vec<Threshold>,
    platform_info_bit: Option<u32>,
}

#[derive(Debug)]
struct Threshold {
    product: Product,
    cpu: Option<CpuMatch>,
    component: Component,
    minimum: u8,
}

impl Advisory {
    /// All, in the order of the data.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        DATA.advisories.iter()
    }

    /// Whether firmware of this version is open to it.
    pub fn misses(&self, product: Product, cpu: Option<CpuId>, tcb: Tcb) -> bool {
        self.below.iter().any(|threshold| {
            threshold.product == product
                && threshold
                    .cpu
                    .is_none_or(|of| cpu.is_some_and(|cpu| of.matches(cpu)))
                && tcb
                    .part(threshold.component)
                    .is_none_or(|have| have < threshold.minimum)
        })
    }

    /// Whether firmware is open to it because of this one part.
    pub fn misses_by(
        &self,
        product: Product,
        cpu: Option<CpuId>,
        part: Component,
        have: Option<u8>,
    ) -> bool {
        self.below.iter().any(|threshold| {
            threshold.product == product
                && threshold.component == part
                && threshold
                    .cpu
                    .is_none_or(|of| cpu.is_some_and(|cpu| of.matches(cpu)))
                && have.is_none_or(|have| have < threshold.minimum)
        })
    }

    /// Whether the platform does not state the bit that tells it is mitigated.
    pub fn misses_bit(&self, platform_info: u64) -> bool {
        self.platform_info_bit
            .is_some_and(|bit| platform_info & (1 << bit) == 0)
    }
}

impl std::fmt::Display for Advisory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.id, self.cves.join(", "))
    }
}

#[derive(Default)]
struct Data {
    as_of: String,
    baselines: Vec<Baseline>,
    advisories: Vec<Advisory>,
}

static DATA: LazyLock<Data> = LazyLock::new(|| {
    // The file is compiled in and a test reads it; an unreadable one gives no minima, which is refused.
    toml::from_str::<File>(include_str!("../data/tcb-baselines.toml"))
        .ok()
        .and_then(File::into_data)
        .unwrap_or_default()
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    as_of: String,
    baseline: Vec<FileBaseline>,
    advisory: Vec<FileAdvisory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBaseline {
    name: String,
    text: String,
    #[serde(default)]
    default: bool,
    minimum: Vec<FileMinimum>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMinimum {
    product: String,
    family: Option<u8>,
    model: Option<u8>,
    stepping: Option<u8>,
    tcb: FileTcb,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTcb {
    fmc: Option<u8>,
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAdvisory {
    id: String,
    cves: Vec<String>,
    title: String,
    source: String,
    looked_up: String,
    confidence: String,
    #[serde(default)]
    below: Vec<FileThreshold>,
    platform_info_bit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileThreshold {
    product: String,
    family: Option<u8>,
    model: Option<u8>,
    stepping: Option<u8>,
    component: String,
    minimum: u8,
}

impl File {
    fn into_data(self) -> Option<Data> {
        let baselines = self
            .baseline
            .into_iter()
            .map(|file| {
                let minima = file
                    .minimum
                    .into_iter()
                    .map(|row| {
                        let FileTcb {
                            fmc,
                            bootloader,
                            tee,
                            snp,
                            microcode,
                        } = row.tcb;
                        let tcb = Tcb {
                            fmc,
                            bootloader,
                            tee,
                            snp,
                            microcode,
                        };
                        Some((
                            Product::parse(&row.product)?,
                            cpu(row.family, row.model, row.stepping)?,
                            tcb,
                        ))
                    })
                    .collect::<Option<_>>()?;
                Some(Baseline {
                    name: file.name,
                    text: file.text,
                    minima,
                    default: file.default,
                })
            })
            .collect::<Option<_>>()?;
        let advisories = self
            .advisory
            .into_iter()
            .map(advisory)
            .collect::<Option<_>>()?;
        Some(Data {
            as_of: self.as_of,
            baselines,
            advisories,
        })
    }
}

fn advisory(file: FileAdvisory) -> Option<Advisory> {
    let below = file
        .below
        .into_iter()
        .map(|row| {
            Some(Threshold {
                product: Product::parse(&row.product)?,
                cpu: cpu(row.family, row.model, row.stepping)?,
                component: Component::parse(&row.component)?,
                minimum: row.minimum,
            })
        })
        .collect::<Option<_>>()?;
    Some(Advisory {
        id: file.id,
        cves: file.cves,
        title: file.title,
        source: file.source,
        looked_up: file.looked_up,
        confidence: file.confidence,
        below,
        platform_info_bit: file.platform_info_bit.filter(|&bit| bit < 64),
    })
}

/// A processor, or none for the whole product. A stepping without a model, or a model without a family, is a mistake.
fn cpu(family: Option<u8>, model: Option<u8>, stepping: Option<u8>) -> Option<Option<CpuMatch>> {
    match (family, model) {
        (Some(family), Some(model)) => Some(Some(CpuMatch {
            family,
            model,
            stepping,
        })),
        (None, None) if stepping.is_none() => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn every_product_has_a_minimum_in_every_baseline() {
        let file: File = toml::from_str(include_str!("../data/tcb-baselines.toml")).unwrap();
        assert!(file.into_data().is_some());
        assert!(Baseline::all().count() >= 2);
        for baseline in Baseline::all() {
            for product in Product::ALL {
                let minimum = baseline.minimum(product).product.unwrap();
                assert!(minimum.snp > 0, "{product} {}", baseline.name);
                assert_eq!(minimum.fmc.is_some(), product == Product::Turin);
            }
        }
        assert_eq!(
            Baseline::all().filter(|baseline| baseline.default).count(),
            1
        );
    }

    #[test]
    fn the_newest_baseline_leaves_no_advisory_open() {
        for product in Product::ALL {
            let minimum = Baseline::newest().minimum(product);
            let mut cpus: Vec<_> = minimum
                .processors
                .iter()
                .map(|(of, tcb)| {
                    (
                        Some(CpuId {
                            family: of.family,
                            model: of.model,
                            stepping: of.stepping.unwrap_or(0),
                        }),
                        *tcb,
                    )
                })
                .collect();
            cpus.push((None, minimum.product.unwrap()));
            for (cpu, tcb) in cpus {
                for advisory in Advisory::all() {
                    assert!(!advisory.misses(product, cpu, tcb), "{product} {advisory}");
                }
            }
        }
    }

    #[test]
    fn older_firmware_misses_the_advisory_of_the_part_that_is_too_old() {
        let old = Tcb {
            fmc: None,
            bootloader: 4,
            tee: 0,
            snp: 24,
            microcode: 219,
        };
        let missed: Vec<_> = Advisory::all()
            .filter(|advisory| advisory.misses(Product::Milan, None, old))
            .map(|advisory| advisory.id.as_str())
            .collect();
        assert_eq!(missed, ["AMD-SB-3023", "AMD-SB-3020", "AMD-SB-3030"]);
        let badram = Advisory::all()
            .find(|advisory| advisory.id == "AMD-SB-3015")
            .unwrap();
        assert!(badram.misses_bit(0x05) && !badram.misses_bit(0x25));
    }

    #[test]
    fn every_advisory_has_a_source_and_the_day_it_was_looked_at() {
        let file: File = toml::from_str(include_str!("../data/tcb-baselines.toml")).unwrap();
        let as_of = Timestamp::parse(&file.as_of).unwrap();
        assert_eq!(file.advisory.len(), Advisory::all().count());
        for advisory in file.advisory {
            let id = &advisory.id;
            assert!(id.starts_with("AMD-SB-"), "{id}");
            assert!(advisory.cves.iter().all(|cve| cve.starts_with("CVE-20")));
            assert!(!advisory.cves.is_empty() && !advisory.title.is_empty());
            assert!(advisory.source.len() > 20, "{id}: {}", advisory.source);
            let looked_up = Timestamp::parse(&advisory.looked_up);
            assert!(looked_up.is_some_and(|day| day <= as_of), "{id}");
            let confidence = ["high", "medium", "low"];
            assert!(confidence.contains(&advisory.confidence.as_str()), "{id}");
            // Something in a report has to tell.
            let told = !advisory.below.is_empty() || advisory.platform_info_bit.is_some();
            assert!(told, "{id}");
        }
    }

    #[test]
    fn microcode_is_counted_for_each_stepping_by_itself() {
        let cpu = |text| CpuId::parse(text).unwrap();
        let milan_x = cpu("19/01/02");
        let fits = |baseline: &Baseline, product, cpu, microcode| {
            let minimum = baseline.minimum(product).for_cpu(Some(cpu)).unwrap();
            microcode >= minimum.microcode
        };
        for baseline in Baseline::all() {
            assert!(fits(baseline, Product::Milan, milan_x, 68));
            assert!(!fits(baseline, Product::Milan, milan_x, 67));
            assert!(!fits(baseline, Product::Milan, cpu("19/01/01"), 218));
        }
        let newest = Baseline::newest();
        assert!(fits(newest, Product::Genoa, cpu("19/11/02"), 81));
        assert!(!fits(newest, Product::Genoa, cpu("19/11/01"), 85));
        assert!(!fits(newest, Product::Turin, cpu("1a/02/01"), 80));
        let tcb = |microcode| Tcb {
            fmc: None,
            bootloader: 4,
            tee: 0,
            snp: 29,
            microcode,
        };
        let missed_by = |product, cpu, microcode| {
            let missed = Advisory::all()
                .filter(|advisory| advisory.misses(product, Some(cpu), tcb(microcode)));
            missed
                .map(|advisory| advisory.id.as_str())
                .collect::<Vec<_>>()
        };
        let missed = |cpu, microcode| missed_by(Product::Milan, cpu, microcode);
        assert_eq!(missed(milan_x, 68), Vec::<&str>::new());
        assert_eq!(missed(milan_x, 67), ["AMD-SB-3019"]);
        assert_eq!(missed(milan_x, 51), ["AMD-SB-3005", "AMD-SB-3019"]);
        assert_eq!(missed(cpu("19/01/01"), 219), Vec::<&str>::new());
        assert_eq!(missed(cpu("19/01/01"), 208), ["AMD-SB-3005", "AMD-SB-3019"]);
        for (product, model, enough) in [
            (Product::Genoa, "19/a0/01", 23),
            (Product::Genoa, "19/a0/02", 25),
            (Product::Turin, "1a/02/01", 71),
            (Product::Turin, "1a/11/00", 71),
        ] {
            let entry_sign = |microcode| {
                let missed = missed_by(product, cpu(model), microcode);
                missed.contains(&"AMD-SB-3019")
            };
            assert!(entry_sign(enough - 1) && !entry_sign(enough), "{model}");
            assert!(fits(newest, product, cpu(model), 255));
            assert!(!fits(newest, product, cpu(model), enough - 1), "{model}");
        }
    }

    #[test]
    fn half_a_processor_is_a_mistake() {
        assert_eq!(cpu(None, None, None), Some(None));
        assert_eq!(cpu(Some(0x19), None, None), None);
        assert_eq!(cpu(None, Some(1), None), None);
        assert_eq!(cpu(None, None, Some(1)), None);
        let all = cpu(Some(0x19), Some(1), Some(2)).flatten().unwrap();
        assert_eq!(all.stepping, Some(2));
    }
}
