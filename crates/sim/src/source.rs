//! A guest on a simulated machine, as a source of evidence.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nacre_attest::{Evidence, ReportSource, SourceError};

use crate::machine::Machine;
use crate::report::ReportSpec;

/// How the simulated firmware behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// One report at a time, as the firmware makes them.
    pub serial: bool,
    /// How long a report takes.
    pub delay: Duration,
    /// This many requests, from the first on, are answered with BUSY.
    pub busy: u32,
}

/// A guest that can ask for reports.
#[derive(Debug)]
pub struct SimulatedGuest {
    machine: Machine,
    report: ReportSpec,
    crl: Vec<u8>,
    behaviour: Behaviour,
    firmware: Mutex<()>,
    refused: AtomicU32,
}

impl SimulatedGuest {
    /// A guest of the machine with its default report.
    pub fn new(machine: Machine, crl: Vec<u8>) -> Self {
        let report = machine.report();
        Self::with(machine, report, crl, Behaviour::default())
    }

    /// A guest whose reports say this (REPORT_DATA aside) and are made like that.
    pub fn with(machine: Machine, report: ReportSpec, crl: Vec<u8>, behaviour: Behaviour) -> Self {
        Self {
            machine,
            report,
            crl,
            behaviour,
            firmware: Mutex::new(()),
            refused: AtomicU32::new(0),
        }
    }
}

impl ReportSource for SimulatedGuest {
    fn name(&self) -> &'static str {
        "simulation"
    }

    fn evidence(&self, report_data: &[u8; 64]) -> Result<Evidence, SourceError> {
        if self.refused.fetch_add(1, Ordering::Relaxed) < self.behaviour.busy {
            return Err(SourceError::Busy);
        }
        let turn = self
            .behaviour
            .serial
            .then(|| self.firmware.lock().unwrap_or_else(PoisonError::into_inner));
        std::thread::sleep(self.behaviour.delay);
        let report = ReportSpec {
            report_data: *report_data,
            ..self.report.clone()
        };
        let evidence = self.machine.evidence(&report, Some(self.crl.clone()));
        drop(turn);
        evidence.map_err(|error| SourceError::Firmware {
            detail: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use nacre_attest::{Product, Report};

    use super::*;
    use crate::pki::Pki;

    const DELAY: Duration = Duration::from_millis(100);

    fn guest(behaviour: Behaviour) -> SimulatedGuest {
        let pki = Pki::of_process(Product::Genoa).unwrap();
        let machine = Machine::new(pki).unwrap();
        let report = machine.report();
        SimulatedGuest::with(machine, report, pki.crl().unwrap(), behaviour)
    }

    /// How long it takes until as many who ask at the same time have their reports, each with its own REPORT_DATA.
    fn all_at_once(guest: &SimulatedGuest, count: u8) -> Duration {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for number in 0..count {
                scope.spawn(move || {
                    let data = [number; 64];
                    let evidence = guest.evidence(&data).unwrap();
                    let report = Report::parse(&evidence.report).unwrap();
                    assert_eq!(report.report_data, data);
                });
            }
        });
        began.elapsed()
    }

    #[test]
    fn a_slow_source_takes_its_time_for_each_report() {
        let slow = guest(Behaviour {
            delay: DELAY,
            ..Behaviour::default()
        });
        assert!(all_at_once(&slow, 1) >= DELAY);
    }

    #[test]
    fn a_serial_source_makes_one_report_at_a_time() {
        let serial = guest(Behaviour {
            serial: true,
            delay: DELAY,
            busy: 0,
        });
        // However many processors there are.
        assert!(all_at_once(&serial, 4) >= 4 * DELAY);
    }

    #[test]
    fn a_serial_source_keeps_others_waiting_and_one_that_is_not_does_not() {
        for serial in [true, false] {
            let guest = guest(Behaviour {
                serial,
                ..Behaviour::default()
            });
            // As if a report were being made.
            let turn = guest.firmware.lock().unwrap();
            std::thread::scope(|scope| {
                let asked = scope.spawn(|| guest.evidence(&[1; 64]).unwrap());
                if serial {
                    // Longer than a report takes.
                    std::thread::sleep(DELAY);
                    assert!(!asked.is_finished());
                    drop(turn);
                    asked.join().unwrap();
                } else {
                    asked.join().unwrap();
                    drop(turn);
                }
            });
        }
    }

    #[test]
    fn a_busy_source_says_so_as_often_as_it_is_told_to() {
        let busy = guest(Behaviour {
            busy: 3,
            ..Behaviour::default()
        });
        for _ in 0..3 {
            let answer = busy.evidence(&[1; 64]);
            assert!(matches!(answer, Err(SourceError::Busy)), "{answer:?}");
        }
        for _ in 0..3 {
            busy.evidence(&[1; 64]).unwrap();
        }
    }
}
