//! The Coordinator of a pod that was rendered without knowing one.

use std::sync::Arc;

use nacre_atls::{AppraisalError, Appraise};
use nacre_attest::{
    CheckId, Claims, CrlMode, Evidence, Expected, HostData, MinimumTcb, Policy, Product,
    ReportData, ReportDataForm, Tcb, Timestamp, Verifier,
};

/// What nobody has said about such a Coordinator.
const UNKNOWN: [CheckId; 2] = [CheckId::Measurement, CheckId::HostData];

/// Accepts evidence of any genuine guest that is bound to this connection.
///
/// That a SEV-SNP guest ends the connection is proven; what runs in it is not. Whoever may start a guest and
/// take the Coordinator's address can hand out certificates: `allowUnattestedCoordinator` accepts just that.
pub(crate) struct AnyGuest(pub(crate) Arc<Verifier>);

impl Appraise for AnyGuest {
    fn appraise(
        &self,
        evidence: &Evidence,
        report_data: [u8; 64],
    ) -> Result<Claims, AppraisalError> {
        let expected = Expected {
            report_data: ReportData::Exact(report_data),
            host_data: HostData::Open,
            newest_crl: None,
        };
        let now = Timestamp::now().max(Timestamp::BUILT_AFTER);
        let examined = self.0.examine_any(evidence, &policies(), &expected, now);
        let (_, verdict) = examined.ok_or(AppraisalError::NoReference)?;
        let open = verdict.open().all(|check| UNKNOWN.contains(&check.id));
        match verdict.claims.clone() {
            Some(claims) if verdict.holds() && open => Ok(claims),
            _ => match verdict.into_result() {
                Ok(claims) => Ok(claims),
                Err(rejection) => Err(AppraisalError::Rejected(rejection)),
            },
        }
    }
}

/// Genuine, not debugged, bound to the connection in either form; of any product and firmware.
fn policies() -> Vec<Policy> {
    let forms = [ReportDataForm::Exact, ReportDataForm::Text];
    let of = |product: Product| {
        forms.map(|report_data_form| Policy {
            measurements: None,
            minimum_tcb: MinimumTcb::of_product(nothing(product)),
            report_data_form,
            allow_vlek: true,
            crl: CrlMode::IfPresent,
            ..Policy::new(product, [])
        })
    };
    Product::ALL.into_iter().flat_map(of).collect()
}

fn nothing(product: Product) -> Tcb {
    Tcb {
        fmc: (product == Product::Turin).then_some(0),
        bootloader: 0,
        tee: 0,
        snp: 0,
        microcode: 0,
    }
}
