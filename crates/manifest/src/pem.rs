//! One PEM block out of a text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A decoded block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) der: Vec<u8>,
}

/// Why a text holds no single PEM block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PemError {
    None,
    Several,
    Unfinished,
    Base64,
}

/// Reads the only block of a text; text before and behind it is comment, as in files of `openssl`.
pub(crate) fn single(text: &str) -> Result<Block, PemError> {
    let mut lines = text.lines().map(str::trim);
    let Some(label) = lines.by_ref().find_map(|line| boundary(line, "BEGIN")) else {
        return Err(PemError::None);
    };
    let mut body = String::new();
    loop {
        let line = lines.next().ok_or(PemError::Unfinished)?;
        match boundary(line, "END") {
            Some(end) if end == label => break,
            Some(_) => return Err(PemError::Unfinished),
            None if line.starts_with("-----") => return Err(PemError::Unfinished),
            None => body.push_str(line),
        }
    }
    if lines.any(|line| boundary(line, "BEGIN").is_some()) {
        return Err(PemError::Several);
    }
    // The headers of an encrypted private key are no base64; its label alone decides what it is.
    let der = STANDARD.decode(&body);
    match der {
        Ok(der) => Ok(Block {
            label: label.to_owned(),
            der,
        }),
        Err(_) if label.ends_with("PRIVATE KEY") => Ok(Block {
            label: label.to_owned(),
            der: Vec::new(),
        }),
        Err(_) => Err(PemError::Base64),
    }
}

fn boundary<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix("-----")?
        .strip_prefix(word)?
        .strip_prefix(' ')?
        .strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----\nAAEC\n-----END PUBLIC KEY-----\n";

    #[test]
    fn comments_and_line_ends_do_not_matter() {
        let expected = Block {
            label: "PUBLIC KEY".to_owned(),
            der: vec![0, 1, 2],
        };
        assert_eq!(single(KEY), Ok(expected));
        let windows = format!("owner of the shop\r\n{}", KEY.replace('\n', "\r\n"));
        assert_eq!(single(&windows).unwrap().der, [0, 1, 2]);
    }

    #[test]
    fn anything_but_one_block_is_refused() {
        assert_eq!(single("hello"), Err(PemError::None));
        assert_eq!(single(&KEY.repeat(2)), Err(PemError::Several));
        assert_eq!(
            single("-----BEGIN PUBLIC KEY-----\nAAEC"),
            Err(PemError::Unfinished)
        );
        assert_eq!(
            single(&KEY.replace("END PUBLIC", "END OTHER")),
            Err(PemError::Unfinished)
        );
        assert_eq!(single(&KEY.replace("AAEC", "A=EC")), Err(PemError::Base64));
    }
}
