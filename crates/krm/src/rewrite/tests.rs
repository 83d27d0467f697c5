use serde_json::{Value, json};

use super::fine;
use crate::path::Path;
use crate::stream::Stream;

/// Applies edits to the only document; the result must come from fine splices.
fn edit(text: &str, edits: &[(&str, Value)]) -> String {
    let stream = Stream::parse(text).unwrap();
    let document = &stream.documents()[0];
    let edits: Vec<_> = edits
        .iter()
        .map(|(path, value)| (path.parse::<Path>().unwrap(), value.clone()))
        .collect();
    fine(document, &edits).unwrap_or_else(|reason| panic!("{reason}\nfor:\n{text}"))
}

/// Sets the whole document through a function on its value.
fn change(text: &str, change: impl FnOnce(&mut Value)) -> String {
    let stream = Stream::parse(text).unwrap();
    let document = &stream.documents()[0];
    let mut value = document.value(&Path::root()).unwrap();
    change(&mut value);
    fine(document, &[(Path::root(), value)])
        .unwrap_or_else(|reason| panic!("{reason}\nfor:\n{text}"))
}

#[test]
fn scalars_keep_their_quotes_and_comments() {
    let text = "a: 'x' # one\nb: \"y\"   # two\nc: z # three\nd: # four\ne: 1\n";
    let edits = [
        ("a", json!("it's")),
        ("b", json!("q\"")),
        ("c", json!("yes")),
        ("d", json!(5)),
        ("e", json!(null)),
    ];
    assert_eq!(
        edit(text, &edits),
        "a: 'it''s' # one\nb: \"q\\\"\"   # two\nc: \"yes\" # three\nd: 5 # four\ne: null\n"
    );
}

#[test]
fn entries_go_behind_the_sibling_they_follow() {
    let text = "a: 1\n# about b\nb:\n  c: 2 # deep\n  # end of b\nd: 3\n";
    let new = json!({"a": 1, "x": {"y": ["z"]}, "b": {"c": 2, "n": 4}, "m": "v", "d": 3});
    assert_eq!(
        change(text, |value| *value = new),
        "a: 1\nx:\n  \"y\":\n  - z\n# about b\nb:\n  c: 2 # deep\n  \"n\": 4\n  # end of b\nm: v\nd: 3\n"
    );
}

#[test]
fn items_keep_the_style_of_the_list() {
    let compact =
        "spec:\n  containers: # list\n  # about web\n  - name: web\n    image: a\n  volumes: []\n";
    let insert = |value: &mut Value| {
        value["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"name": "init", "args": ["-v"]}));
        value["spec"]["volumes"] = json!([{"name": "tls", "emptyDir": {}}]);
    };
    assert_eq!(
        change(compact, insert),
        "spec:\n  containers: # list\n  - name: init\n    args:\n    - -v\n  # about web\n  - name: web\n    image: a\n  volumes:\n  - name: tls\n    emptyDir: {}\n"
    );
    let wide = "spec:\n    containers:\n        - name: web\n          image: a\n    volumes:\n";
    assert_eq!(
        change(wide, insert),
        "spec:\n    containers:\n        - name: init\n          args:\n              - -v\n        - name: web\n          image: a\n    volumes:\n        - name: tls\n          emptyDir: {}\n"
    );
}

#[test]
fn the_annotation_gives_the_style_where_the_text_does_not() {
    let text = "metadata:\n  annotations:\n    internal.config.kubernetes.io/seqindent: 'wide'\nspec: {}\n";
    assert_eq!(
        edit(
            text,
            &[(
                "",
                json!({"metadata": {"annotations": {"internal.config.kubernetes.io/seqindent": "wide"}}, "spec": {"a": [1]}})
            )]
        ),
        "metadata:\n  annotations:\n    internal.config.kubernetes.io/seqindent: 'wide'\nspec:\n  a:\n    - 1\n"
    );
}

#[test]
fn removed_entries_take_their_comments_along() {
    let text = "a: 1\n# about b\n# more\nb: 2 # end\n\n# about c\nc: 3\n";
    assert_eq!(
        change(text, |v| {
            v.as_object_mut().unwrap().shift_remove("b");
        }),
        "a: 1\n\n# about c\nc: 3\n"
    );
    let text = "l:\n- a: 1\n  b: 2\n# second\n- c\n- d # third\n";
    assert_eq!(
        change(text, |v| {
            v["l"].as_array_mut().unwrap().remove(1);
        }),
        "l:\n- a: 1\n  b: 2\n- d # third\n"
    );
    assert_eq!(
        change(text, |v| {
            v["l"][0].as_object_mut().unwrap().shift_remove("a");
        }),
        "l:\n- b: 2\n# second\n- c\n- d # third\n"
    );
    let text = "l:\n- a: 1\n  # on b\n  b: 2\n";
    assert_eq!(
        change(text, |v| {
            v["l"][0].as_object_mut().unwrap().shift_remove("a");
        }),
        "l:\n-\n  # on b\n  b: 2\n"
    );
}

#[test]
fn emptied_and_filled_collections() {
    assert_eq!(
        edit("a:\n  b: 1 # x\nc: 2\n", &[("a", json!({}))]),
        "a: {}\nc: 2\n"
    );
    assert_eq!(
        edit("a: # head\n- 1\n- 2\nc: 2\n", &[("a", json!([]))]),
        "a: [] # head\nc: 2\n"
    );
    assert_eq!(
        edit("a: {} # x\nc: 2\n", &[("a.b", json!("v"))]),
        "a: # x\n  b: v\nc: 2\n"
    );
    assert_eq!(
        edit("a: # x\nc: 2\n", &[("a.b", json!("v"))]),
        "a: # x\n  b: v\nc: 2\n"
    );
    assert_eq!(edit("a:\n  b: 1\n", &[("a", json!("s"))]), "a: s\n");
    assert_eq!(
        edit("a:\n- b: 1\n", &[("a[0]", json!(["s", "t"]))]),
        "a:\n- - s\n  - t\n"
    );
    assert_eq!(
        edit("a: 1\n", &[("b.c.d", json!(1)), ("b.c.e", json!([true]))]),
        "a: 1\nb:\n  c:\n    d: 1\n    e:\n    - true\n"
    );
}

#[test]
fn flow_collections_are_edited_in_place() {
    let text = "a: {x: 'one', \"y\" : two} # c\nl: [ 1, 2 ,3]\n";
    assert_eq!(
        change(text, |v| {
            v["a"]["z"] = json!("1");
            v["l"] = json!([0, 1, 3, "a,b"]);
        }),
        "a: {x: 'one', \"y\" : two, z: \"1\"} # c\nl: [ 0, 1 ,3, \"a,b\"]\n"
    );
    assert_eq!(
        change(text, |v| {
            v["a"].as_object_mut().unwrap().shift_remove("x");
            v["l"] = json!([1]);
        }),
        "a: {\"y\" : two} # c\nl: [ 1]\n"
    );
    assert_eq!(
        edit("a: {b, c: }\n", &[("a.b", json!(1)), ("a.c", json!(2))]),
        "a: {b: 1, c: 2 }\n"
    );
    assert_eq!(
        edit(
            "a: {\n  b: 1, # one\n  c: 2 # two\n}\n",
            &[("a.d", json!(3))]
        ),
        "a: {\n  b: 1, # one\n  c: 2,\n  d: 3 # two\n}\n"
    );
}

#[test]
fn json_stays_json() {
    let text = "{\n  \"a\": {\n    \"b\": \"x\"\n  },\n  \"l\": [],\n  \"e\": {}\n}\n";
    let edits = [
        ("a.c", json!({"d": [1, "y"]})),
        ("l", json!(["z"])),
        ("e.f", json!(null)),
        ("a.b", json!("yes")),
    ];
    let edited = edit(text, &edits);
    assert_eq!(
        edited,
        "{\n  \"a\": {\n    \"b\": \"yes\",\n    \"c\": {\n      \"d\": [\n        1,\n        \"y\"\n      ]\n    }\n  },\n  \"l\": [\n    \"z\"\n  ],\n  \"e\": {\n    \"f\": null\n  }\n}\n"
    );
    assert!(serde_json::from_str::<Value>(&edited).is_ok());
    let compact = edit(
        "{\"a\":{\"b\":1},\"l\":[1]}",
        &[("a.c", json!("x: y")), ("l[1]", json!({"k": "v"}))],
    );
    assert_eq!(
        compact,
        "{\"a\":{\"b\":1,\"c\":\"x: y\"},\"l\":[1,{\"k\":\"v\"}]}"
    );
}

#[test]
fn block_scalars() {
    let text = "a: | # head\n  one\n  two\n\nb: >-\n  folded\n  text\nc: |+\n  kept\n\nd: 1\n";
    assert_eq!(
        edit(
            text,
            &[
                ("a", json!("x\ny\n")),
                ("b", json!("short")),
                ("c", json!("l1\nl2"))
            ]
        ),
        "a: | # head\n  x\n  y\n\nb: short\nc: |-\n  l1\n  l2\nd: 1\n"
    );
    assert_eq!(
        edit(text, &[("e", json!("p\nq\n"))]),
        format!("{text}e: |\n  p\n  q\n")
    );
    assert_eq!(
        change(text, |v| v["c2"] = json!(1)),
        format!("{text}c2: 1\n")
    );
    assert_eq!(
        edit("a: old # why\nb: 1\n", &[("a", json!("x\ny"))]),
        "a: |- # why\n  x\n  y\nb: 1\n"
    );
    // A deeper comment would become part of a block scalar.
    assert_eq!(
        edit("a: old\n    # deep\nb: 1\n", &[("a", json!("x\ny"))]),
        "a: \"x\\ny\"\n    # deep\nb: 1\n"
    );
}

#[test]
fn a_missing_final_newline_stays_missing() {
    assert_eq!(edit("a: 1\nb: x", &[("c", json!(2))]), "a: 1\nb: x\nc: 2");
    assert_eq!(
        edit("a: 1\nb: x", &[("b", json!({"c": [1]}))]),
        "a: 1\nb:\n  c:\n  - 1"
    );
    // The old value has no newline at its end and must not get one.
    assert_eq!(edit("a: |\n  x", &[("c", json!(2))]), "a: |-\n  x\nc: 2");
    assert_eq!(edit("a: |2+\n  x", &[("c", json!(2))]), "a: |2-\n  x\nc: 2");
    // The new value has one and must keep it.
    assert_eq!(
        edit("a: 1", &[("c", json!("x\ny\n"))]),
        "a: 1\nc: |\n  x\n  y\n"
    );
    assert_eq!(edit("a: 1", &[("a", json!("x\ny\n"))]), "a: |\n  x\n  y\n");
}

#[test]
fn crlf_and_markers() {
    let text = "\u{feff}--- # start\r\na: 1 # x\r\nl:\r\n- b\r\n...\r\n";
    assert_eq!(
        edit(
            text,
            &[
                ("l[1]", json!({"c": 1, "d": 2})),
                ("e", json!("x\ny\n")),
                ("a", json!([1]))
            ]
        ),
        "\u{feff}--- # start\r\na: # x\r\n- 1\r\nl:\r\n- b\r\n- c: 1\r\n  d: 2\r\ne: |\r\n  x\r\n  y\r\n...\r\n"
    );
}

#[test]
fn dashes_with_comments_and_lists_in_lists() {
    let text = "l:\n- # one\n  a: 1\n-   b: 2\n- - x\n  - y\n-\n  - z\n-\n";
    assert_eq!(
        change(text, |v| {
            v["l"][0]["n"] = json!("q");
            v["l"][1]["m"] = json!(0);
            v["l"][2] = json!(["x", true, "w"]);
            v["l"][4] = json!("v");
            v["l"][3] = json!(["0", "z"]);
        }),
        "l:\n- # one\n  a: 1\n  \"n\": q\n-   b: 2\n    m: 0\n- - x\n  - y\n  - w\n-\n  - \"0\"\n  - z\n- v\n"
    );
    assert_eq!(
        change("l:\n- - x\n  - y\n", |v| v["l"][0] =
            json!(["a", "x", true])),
        "l:\n- - a\n  - x\n  - y\n"
    );
}

#[test]
fn aliases_are_never_edited_through() {
    let text = "labels: &l\n  app: web\nselector: *l\ncopy: *l\n";
    // Under the alias: a copy there, the rest as it was.
    assert_eq!(
        edit(text, &[("selector.tier", json!("front"))]),
        "labels: &l\n  app: web\nselector:\n  app: web\n  tier: front\ncopy: *l\n"
    );
    // In the anchored node: copies for its users.
    assert_eq!(
        edit(text, &[("labels.tier", json!("front"))]),
        "labels: &l\n  app: web\n  tier: front\nselector:\n  app: web\ncopy:\n  app: web\n"
    );
    // The same change everywhere still reads the same everywhere.
    let all = edit(
        text,
        &[
            ("labels.tier", json!(1)),
            ("selector.tier", json!(1)),
            ("copy.tier", json!(1)),
        ],
    );
    assert_eq!(
        all,
        "labels: &l\n  app: web\n  tier: 1\nselector:\n  app: web\n  tier: 1\ncopy:\n  app: web\n  tier: 1\n"
    );
    // Gone with its anchor.
    assert_eq!(
        change(text, |v| {
            v.as_object_mut().unwrap().shift_remove("labels");
        }),
        "selector:\n  app: web\ncopy:\n  app: web\n"
    );
    assert_eq!(
        edit("a: &x 1\nb: *x\nc: [*x, 2]\n", &[("a", json!(5))]),
        "a: 5\nb: 1\nc: [1, 2]\n"
    );
    // Untouched aliases do not hinder edits elsewhere.
    assert_eq!(
        edit("a: &x 1\nb: *x\nc: 3\n", &[("c", json!(4))]),
        "a: &x 1\nb: *x\nc: 4\n"
    );
}

#[test]
fn nested_anchors() {
    let text = "a: &a\n  b: &b {c: 1}\nd: *b\ne: *a\nf: {g: *b}\n";
    assert_eq!(
        edit(text, &[("a.b.c", json!(2))]),
        "a: &a\n  b: &b {c: 2}\nd:\n  c: 1\ne:\n  b:\n    c: 1\nf: {g: {c: 1}}\n"
    );
}

#[test]
fn merge_keys() {
    let text = "base: &b\n  p: 1\n  q: 2\nuse:\n  <<: *b # shared\n  r: 3\nlast: 0\n";
    assert_eq!(
        edit(text, &[("use.s", json!(4))]),
        "base: &b\n  p: 1\n  q: 2\nuse:\n  <<: *b # shared\n  r: 3\n  s: 4\nlast: 0\n"
    );
    // A merged key changes: the merge is written out.
    assert_eq!(
        edit(text, &[("use.p", json!(9))]),
        "base: &b\n  p: 1\n  q: 2\nuse:\n  p: 9\n  q: 2\n  r: 3\nlast: 0\n"
    );
    assert_eq!(
        edit(text, &[("base.p", json!(7))]),
        "base: &b\n  p: 7\n  q: 2\nuse:\n  p: 1\n  q: 2\n  r: 3\nlast: 0\n"
    );
    assert_eq!(
        edit("a: &a {x: 1}\nb: {<<: *a, z: 2}\n", &[("a.x", json!(5))]),
        "a: &a {x: 5}\nb: {x: 1, z: 2}\n"
    );
}

#[test]
fn paths_that_do_not_fit() {
    let stream = Stream::parse("a: 1\nl: [1]\n").unwrap();
    for (path, column) in [("a.b", 4), ("l[2]", 4), ("l.x", 4), ("[0]", 1)] {
        let error = stream.documents()[0]
            .rewrite(&[(path.parse().unwrap(), json!(1))])
            .unwrap_err();
        assert_eq!(
            (error.code(), error.position().column),
            (130, column),
            "{path}: {error}"
        );
    }
}

#[test]
fn nothing_wanted_nothing_changed() {
    let text = "# c\na:   {b: 'c',   d: [ ]}\n\n\n# end";
    assert_eq!(change(text, |_| {}), text);
    let stream = Stream::parse(text).unwrap();
    assert_eq!(stream.documents()[0].rewrite(&[]).unwrap(), text);
}

#[test]
fn odd_forms_are_written_anew_and_proved() {
    for (text, path, value) in [
        ("? a\n: b\n? c\n", "d", json!(1)),
        ("a: [b: c]\n", "a[0].d", json!(1)),
        ("--- |\n  text\n", "", json!({"a": 1})),
        ("|\n text\n", "", json!({"a": 1})),
        ("# c\n\n>-\n text", "", json!("x")),
        ("# only a comment\n", "a.b", json!("c")),
        ("a: {? b : c}\n", "a.d", json!(2)),
    ] {
        let stream = Stream::parse(text).unwrap();
        let path: Path = path.parse().unwrap();
        let new = stream.documents()[0]
            .rewrite(&[(path.clone(), value.clone())])
            .unwrap();
        assert_eq!(
            Stream::parse(new).unwrap().documents()[0].value(&path),
            Some(value),
            "{text}"
        );
    }
}

#[test]
fn first_of_a_compact_collection_goes() {
    let text = "l:\n- a: 1\n  # on b\n  b: 2\n  c: 3\n";
    let set = |new: Value| change(text, |v| v["l"][0] = new);
    assert_eq!(set(json!({"c": 3})), "l:\n- c: 3\n");
    assert_eq!(
        set(json!({"x": 0, "b": 2, "c": 3})),
        "l:\n-\n  # on b\n  b: 2\n  c: 3\n  x: 0\n"
    );
    let nested = "l:\n- - a\n  - b\n  # on c\n  - c\n";
    assert_eq!(change(nested, |v| v["l"][0] = json!(["c"])), "l:\n- - c\n");
    assert_eq!(
        change(nested, |v| v["l"][0] = json!([{"n": 1}, "c"])),
        "l:\n- - \"n\": 1\n  # on c\n  - c\n"
    );
}

#[test]
fn long_keys() {
    let key = "k".repeat(2000);
    for text in ["a: 1\n", "a: {b: 1}\n"] {
        let stream = Stream::parse(text).unwrap();
        for path in [Path::root().key(&key), Path::root().key("a").key(&key)] {
            let Ok(new) = stream.documents()[0].rewrite(&[(path.clone(), json!([1]))]) else {
                continue;
            };
            assert_eq!(
                Stream::parse(new).unwrap().documents()[0].value(&path),
                Some(json!([1]))
            );
        }
    }
}
