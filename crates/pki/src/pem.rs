//! PEM text (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const LINE: usize = 64;

/// One PEM block with this label.
pub fn pem(label: &str, der: &[u8]) -> String {
    let mut body = STANDARD.encode(der);
    let text = lines(label, &body);
    body.clear();
    text
}

/// As [`pem`], for what nobody else may see.
pub(crate) fn secret_pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    Zeroizing::new(lines(label, &body))
}

/// The content of the one block that a text has to be.
pub(crate) fn read_secret_pem(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let body = text.trim().strip_prefix(&begin)?.strip_suffix(&end)?;
    let mut whole = Zeroizing::new(String::with_capacity(body.len()));
    for line in body.split_ascii_whitespace() {
        whole.push_str(line);
    }
    Some(Zeroizing::new(STANDARD.decode(whole.as_bytes()).ok()?))
}

fn lines(label: &str, body: &str) -> String {
    // Reserved at once: growing would leave copies of a secret behind.
    let length = body.len() + body.len() / LINE + 2 * label.len() + 64;
    let mut text = String::with_capacity(length);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body;
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_64_characters() {
        let text = pem("X", &[0; 49]);
        let expected = format!(
            "-----BEGIN X-----\n{}\nAA==\n-----END X-----\n",
            "A".repeat(64)
        );
        assert_eq!(text, expected);
        assert_eq!(pem("X", &[]), "-----BEGIN X-----\n-----END X-----\n");
        let even = pem("X", &[0; 48]);
        assert_eq!(
            even,
            format!("-----BEGIN X-----\n{}\n-----END X-----\n", "A".repeat(64))
        );
    }
}
