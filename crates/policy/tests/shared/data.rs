//! Data of policies, for tests of several packages: whole ones, since the form of data is a part of what is
//! known about a policy.

use nacre_policy::read::Rules;
use nacre_policy::rules::RULES;
use serde_json::Value;

/// The data of the small golden pod with these containers instead of its own: each has the members of the
/// pod's one container, but for those that are given.
pub(crate) fn data(containers: &Value) -> Value {
    let text = format!("{RULES}{}", include_str!("../golden/small.rego"));
    let Rules::Known { policy, .. } = Rules::of_text(text) else {
        panic!("the golden data are those of another version: write them anew");
    };
    let mut data = policy.data().clone();
    let whole = data["containers"]["web"].clone();
    let all = data["containers"].as_object_mut().unwrap();
    all.remove("web");
    for (name, members) in containers.as_object().unwrap() {
        let container = all.entry(name).or_insert_with(|| whole.clone());
        for (key, value) in members.as_object().unwrap() {
            container[key.as_str()] = value.clone();
        }
    }
    data
}
