//! A pod's own requests pass.

use nacre_policy::{evaluate::Session, request, self_check};

use crate::common::{Case, mesh, small};

fn check(case: &Case) {
    let policy = case.policy();
    let mut session = Session::load(&policy.text).unwrap();
    for request in case.with(request::life) {
        let decision = session.request(request.message, &request.input).unwrap();
        assert!(
            decision.allowed,
            "{}: {} is denied: {:?}\n{:#}\nstate {:#}",
            case.name,
            request.title,
            decision.prints,
            request.input,
            session.state()
        );
    }
    case.with(|input| self_check(&policy, input)).unwrap();
}

#[test]
fn a_pods_own_life_is_allowed() {
    check(&small());
    check(&mesh());
}
