use super::*;

#[test]
fn numbers_and_words() {
    for (text, scalar) in [
        ("yes", Scalar::Bool(true)),
        ("On", Scalar::Bool(true)),
        ("n", Scalar::Bool(false)),
        ("yEs", Scalar::Text),
        ("NULL", Scalar::Null),
        ("0755", Scalar::Int(493)),
        ("0o755", Scalar::Int(493)),
        ("0b11", Scalar::Int(3)),
        ("1_000", Scalar::Int(1000)),
        ("08", Scalar::Float(8.0)),
        ("1e3", Scalar::Float(1000.0)),
        ("18446744073709551615", Scalar::UInt(u64::MAX)),
        ("-9223372036854775808", Scalar::Int(i64::MIN)),
        ("+.inf", Scalar::NotJson),
        ("2001-01-01", Scalar::Text),
        ("22:22", Scalar::Text),
        ("<<", Scalar::Text),
        ("1e400", Scalar::Text),
        ("", Scalar::Null),
    ] {
        assert_eq!(resolve(text), scalar, "{text}");
    }
}

#[test]
fn strings_that_some_reader_would_misread() {
    for text in [
        "",
        "y",
        "no",
        "Off",
        "~",
        "null",
        "True",
        "1",
        "-1",
        "+1",
        "0755",
        "0o7",
        "1_000",
        "1e3",
        ".5",
        "5.",
        ".inf",
        "-.INF",
        ".nan",
        "22:22",
        "1:30:00.5",
        "2001-01-01",
        "2001-1-1T00:00:00Z",
        "=",
        "<<",
        "0x1F",
        "0b1_0",
        "089",
        "1.5_0",
        "12e03",
        "1__0",
        "1e400",
        "_.5_0".trim_start_matches('_'),
    ] {
        assert!(is_ambiguous(text), "{text}");
    }
    for text in [
        "yesterday",
        "nginx:1.25",
        "1.25.3",
        "10.0.0.1",
        "500m",
        "256Mi",
        "--flag",
        "-x",
        "a=b",
        "v1",
        "/path",
        "2001-01",
        "01-01-2001",
        "1:2:x",
        "0xG",
        "0b",
        "e3",
        "1e",
        "+",
        "-",
        "..",
        "1.2.3.4",
        "sha256:00",
        "_1",
    ] {
        assert!(!is_ambiguous(text), "{text}");
    }
}

#[test]
fn number_keys_as_go_prints_them() {
    for (text, key) in [
        ("1e3", "1000"),
        ("1e6", "1e+06"),
        ("0.00001", "1e-05"),
        ("123456789.5", "1.2345679e+08"),
        ("-0.5", "-0.5"),
    ] {
        assert_eq!(resolve(text).key().as_deref(), Some(key), "{text}");
    }
    assert_eq!(resolve("~").key(), None);
    assert_eq!(resolve("18446744073709551615").key(), None);
}
