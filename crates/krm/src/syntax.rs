//! Why a text is not YAML.

use granit_parser::ErrorKind;

use crate::error::{Error, Position};
use crate::limits::Limits;

/// What the scanner stumbled over at `offset`, in terms of what the author wrote.
pub(crate) fn explain(text: &str, offset: usize, kind: &ErrorKind, limits: &Limits) -> Error {
    let at = Position::of(text, offset);
    match kind {
        ErrorKind::RecursionLimitExceeded => Error::Depth {
            at,
            limit: limits.depth,
        },
        _ if line_has_template(text, offset) => Error::Template { at },
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => {
            Error::Character {
                at,
                character: u32::from(*character),
            }
        }
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => Error::Syntax {
            at,
            reason: format!("{kind}; indent with spaces"),
        },
        kind => Error::Syntax {
            at,
            reason: kind.to_string(),
        },
    }
}

/// Whether the line at `offset`, or the one before (where a scanner may stop late), has `{{`.
fn line_has_template(text: &str, offset: usize) -> bool {
    let before = text.get(..offset.min(text.len())).unwrap_or_default();
    let start = before.rfind('\n').unwrap_or(0);
    let start = before
        .get(..start)
        .and_then(|b| b.rfind('\n'))
        .map_or(0, |at| at + 1);
    let rest = text.get(start..).unwrap_or_default();
    rest.split('\n').take(2).any(|line| line.contains("{{"))
}
