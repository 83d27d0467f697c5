//! The form of the data that the rules are made for.
//!
//! The rules look up what they need; what the data lack is not demanded, and any value but `false` is a yes.
//! So data of another form than [`crate::generate()`] writes could allow what nobody sees in them.

use serde_json::{Map, Value};

use crate::container::table;
use crate::generate::PAUSE;
use crate::mounts;
use crate::pod::{object, text};
use crate::target::{BLOCKS, Target};

use super::shape;

/// What a value must be.
enum Form {
    Text,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// `true`; nothing stands for `false`.
    Yes,
    /// A user, a group, groups, and nothing more.
    User,
    /// An argument: a text, or `{"is": rule}`.
    Arg,
    /// A rule of a value.
    Rule,
    List(&'static Form),
    /// Any names, all with values of this form.
    Map(&'static Form),
    /// These members and no others.
    Members(&'static [Member]),
    /// Any object.
    Object,
    /// Compared as a whole, in [`is_ours`].
    Elsewhere,
}

/// Name, whether it must be there, form.
type Member = (&'static str, bool, Form);

const DATA: Form = Form::Members(&[
    ("block", false, Form::Object),
    ("containers", true, Form::Elsewhere),
    ("env", true, Form::Map(&Form::Rule)),
    ("mounts", true, Form::Elsewhere),
    ("nested", true, Form::List(&Form::List(&Form::Text))),
    ("pod", true, POD),
    ("storages", false, Form::Map(&Form::Object)),
    ("target", true, Form::Elsewhere),
]);

const POD: Form = Form::Members(&[
    ("annotations", true, Form::Map(&Form::Text)),
    ("dns", false, Form::List(&Form::Text)),
    ("files", true, Form::List(&Form::Text)),
    ("host", true, Form::Text),
    ("hostname", true, Form::Text),
    ("name", true, Form::Text),
    ("namespace", true, Form::Text),
    ("pidns", true, Form::Flag),
]);

const CONTAINER: Form = Form::Members(&[
    ("after", true, Form::List(&Form::Text)),
    ("args", true, Form::List(&Form::Arg)),
    ("base", true, Form::Text),
    ("caps", true, Form::Text),
    ("debug", false, Form::Yes),
    ("devices", false, Form::List(&Form::Text)),
    ("env", true, Form::Map(&Form::Rule)),
    ("exec", false, Form::List(&Form::List(&Form::Text))),
    ("image", true, Form::List(&Form::Text)),
    ("kind", true, Form::OneOf(&["app", "init", "side"])),
    ("logs", false, Form::Yes),
    // Only none: the default is the target's.
    ("masked", false, Form::OneOf(&[""])),
    ("mounts", true, Form::Map(&Form::List(&Form::Text))),
    ("readonly", false, Form::OneOf(&[""])),
    ("stdin", false, Form::Yes),
    (
        "want",
        true,
        Form::Members(&[
            ("cwd", true, Form::Text),
            ("nnp", true, Form::Flag),
            ("ro", true, Form::Flag),
            ("tty", true, Form::Flag),
            ("user", true, Form::User),
        ]),
    ),
]);

/// The sandbox's own: what runs in it comes from the measured guest.
const SANDBOX: Form = Form::Members(&[
    ("after", true, Form::List(&Form::Text)),
    ("args", true, Form::List(&Form::Arg)),
    ("base", true, Form::OneOf(&["pause"])),
    ("caps", true, Form::Text),
    ("env", true, Form::Map(&Form::Rule)),
    ("image", true, Form::List(&Form::Text)),
    ("kind", true, Form::OneOf(&["pause"])),
    ("sysctl", false, Form::Map(&Form::Text)),
    (
        "want",
        true,
        Form::Members(&[
            ("cwd", true, Form::Text),
            ("nnp", true, Form::Flag),
            ("ro", true, Form::Flag),
            ("tty", true, Form::Flag),
        ]),
    ),
]);

/// Whether data have the form that the rules are made for, for a target of ours.
pub(super) fn is_ours(data: &Value) -> bool {
    DATA.fits(data)
        && target(data)
            .is_some_and(|target| has_bases(target, data) && shape::are_annotations(target, data))
        && shape::are_names(data)
        && shape::are_guest_storages(data)
        && shape::is_encrypted(data)
        && object(data, "containers").is_some_and(|containers| {
            containers.contains_key(PAUSE)
                && containers.iter().all(|(name, container)| match &**name {
                    PAUSE => SANDBOX.fits(container),
                    _ => {
                        CONTAINER.fits(container)
                            && has_its_base(container)
                            && shape::are_pinned(container.get("image").unwrap_or(&Value::Null))
                            && shape::have_known_sources(container, data)
                    }
                })
        })
}

/// The target whose data these are; two parts of them only some pods need.
fn target(data: &Value) -> Option<&'static Target> {
    let mut own = object(data, "target")?.clone();
    let target = Target::find(own.get("name")?.as_str()?)?;
    let blocks = own.remove("blocks").is_none_or(|blocks| blocks == BLOCKS);
    let devices = own
        .remove("devices")
        .is_none_or(|devices| devices == Value::from(target.device_types.to_vec()));
    (blocks && devices && Value::Object(own) == target.data()).then_some(target)
}

/// Whether the mounts that every container of a sort has are those of the target.
fn has_bases(target: &Target, data: &Value) -> bool {
    object(data, "mounts").is_some_and(|bases| {
        bases.iter().all(|(name, base)| {
            mounts::base_of(target, name).is_some_and(|mounts| table(&mounts) == *base)
        })
    })
}

/// Whether the mounts of a container are of the sort that its other settings say.
fn has_its_base(container: &Value) -> bool {
    let open = |key: &str| container.get(key).is_some();
    let read_only = container.pointer("/want/ro") == Some(&Value::Bool(true));
    let name = mounts::base_name(open("masked"), read_only);
    open("masked") == open("readonly") && text(container, "base") == Some(name)
}

impl Form {
    fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::OneOf(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
            Self::Flag => value.is_boolean(),
            Self::Yes => *value == Value::Bool(true),
            Self::User => match value.as_array().map(Vec::as_slice) {
                Some([user, group, Value::Array(groups), Value::Object(rest)]) => {
                    let mut ids = [user, group].into_iter().chain(groups);
                    ids.all(Value::is_u64) && rest.is_empty()
                }
                _ => false,
            },
            Self::Arg => match value {
                Value::Object(arg) => arg.len() == 1 && arg.get("is").is_some_and(shape::is_rule),
                other => other.is_string(),
            },
            Self::Rule => shape::is_rule(value),
            Self::List(form) => value
                .as_array()
                .is_some_and(|items| items.iter().all(|item| form.fits(item))),
            Self::Map(form) => value
                .as_object()
                .is_some_and(|members| members.values().all(|member| form.fits(member))),
            Self::Members(forms) => value
                .as_object()
                .is_some_and(|members| has_members(members, forms)),
            Self::Object => value.is_object(),
            Self::Elsewhere => true,
        }
    }
}

fn has_members(members: &Map<String, Value>, forms: &[Member]) -> bool {
    let known =
        members.iter().all(
            |(name, value)| match forms.iter().find(|form| form.0 == name) {
                Some((_, _, form)) => form.fits(value),
                None => false,
            },
        );
    let needed = |(name, must, _): &Member| !must || members.contains_key(*name);
    known && forms.iter().all(needed)
}
