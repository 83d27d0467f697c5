use nacre_api::v1::get_manifests_response::Part;

use super::*;

fn head(objects: u32) -> v1::GetManifestsResponse {
    part(Part::Head(v1::AttestedState {
        transition: vec![1; 32],
        manifest: vec![2; 32],
        objects,
        ..Default::default()
    }))
}

fn part(part: Part) -> v1::GetManifestsResponse {
    v1::GetManifestsResponse { part: Some(part) }
}

fn piece(key: &str, content: &[u8], last: bool) -> v1::GetManifestsResponse {
    part(Part::Object(v1::Object {
        key: key.into(),
        content: content.into(),
        last,
    }))
}

fn of(parts: Vec<v1::GetManifestsResponse>) -> Result<Snapshot, AnswerError> {
    let mut assembly = Assembly::new([7; 32]);
    parts.into_iter().try_for_each(|part| assembly.add(part))?;
    assembly.finish()
}

fn manifest(byte: u8) -> String {
    format!("manifests/{}", hex::encode([byte; 32]))
}

#[test]
fn pieces_are_put_together() {
    let parts = vec![
        head(2),
        piece(&manifest(1), b"ab", false),
        piece(&manifest(1), b"cd", true),
        piece("latest", b"", true),
    ];
    let snapshot = of(parts).unwrap();
    assert_eq!(snapshot.nonce, [7; 32]);
    let contents: Vec<_> = snapshot.objects.values().map(Vec::as_slice).collect();
    assert_eq!(contents, [&b"abcd"[..], b""]);
}

#[test]
fn a_cut_answer_is_refused_wherever_it_is_cut() {
    let whole = vec![
        head(2),
        piece(&manifest(1), b"ab", false),
        piece(&manifest(1), b"cd", true),
        piece("latest", b"x", true),
    ];
    for length in 0..whole.len() {
        let cut = whole.iter().take(length).cloned().collect();
        assert!(
            matches!(of(cut), Err(AnswerError::Truncated { .. })),
            "{length}"
        );
    }
    assert!(of(whole).is_ok());
}

#[test]
fn every_disorder_has_its_reason() {
    let order = |parts| matches!(of(parts), Err(AnswerError::Order { .. }));
    assert!(order(vec![piece("latest", b"x", true)]));
    assert!(order(vec![head(1), head(1)]));
    assert!(order(vec![head(1), v1::GetManifestsResponse::default()]));
    assert!(order(vec![head(1), piece("latest", b"", false)]));
    let inside = vec![
        head(2),
        piece(&manifest(1), b"a", false),
        piece("latest", b"", true),
    ];
    assert!(order(inside));
    let twice = vec![
        head(2),
        piece("latest", b"", true),
        piece("latest", b"", true),
    ];
    assert_eq!(
        of(twice),
        Err(AnswerError::Twice {
            key: ObjectKey::Latest
        })
    );
    for name in ["", "../etc/passwd", "manifests/AA", "latest/", "manifests/"] {
        let named = of(vec![head(1), piece(name, b"", true)]);
        assert!(matches!(named, Err(AnswerError::Name { .. })), "{name}");
    }
    let many = of(vec![head(u32::MAX)]);
    assert!(matches!(many, Err(AnswerError::TooLarge { .. })));
    let more = of(vec![
        head(1),
        piece(&manifest(1), b"", true),
        piece("latest", b"", true),
    ]);
    assert!(matches!(more, Err(AnswerError::Truncated { .. })));
}

#[test]
fn an_object_has_a_limit() {
    let mut assembly = Assembly::new([0; 32]);
    assembly.add(head(1)).unwrap();
    let mega = vec![0; 1 << 20];
    let outcome =
        (0..=MAX_OBJECT >> 20).try_for_each(|_| assembly.add(piece("latest", &mega, false)));
    assert!(matches!(outcome, Err(AnswerError::TooLarge { .. })));
}

#[test]
fn a_head_without_hashes_is_malformed() {
    let short = part(Part::Head(v1::AttestedState::default()));
    assert!(matches!(
        of(vec![short]),
        Err(AnswerError::Malformed { .. })
    ));
}
