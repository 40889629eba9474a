use proptest::prelude::*;

use super::*;

fn error(source: &str, scope: &Scope<'_>) -> String {
    Expression::compile(source, scope).expect_err(source).message
}

const PARAMS: Scope<'_> =
    Scope { params: Some(&["device_id", "room"]), optional_params: &[], results: &["answer"] };

#[test]
fn expressions_of_every_kind_compile() {
    for source in [
        "true",
        "params.device_id",
        "params['room'] + '/' + topic",
        "has(params.room) && params.room == 'x'",
        "payload.command in ['restart', 'shutdown']",
        "{'status': 'accepted', 'n': size(payload.list), 'at': string(message.receivedAt)}",
        "payload.list.all(x, x > 0) && payload.list.exists(y, y == payload.n)",
        "payload.rows.map(r, r.cells.filter(c, c.topic > 0))",
        "payload.a.map(topic, topic.nothing)",
        "results.answer.status == 200",
        "message.qos > 0 || message.properties['x'] == 'y' || message.contentType == ''",
        "type(payload) == string && payload.matches('^a+$') || payload.startsWith('b')",
        "route == 'é' ? duration('1s') : timestamp('2026-01-01T00:00:00Z') - message.receivedAt",
    ] {
        if let Err(error) = Expression::compile(source, &PARAMS) {
            panic!("{source}: {error}");
        }
    }
}

#[test]
fn what_is_refused_is_named_with_its_place_and_fix() {
    for (source, message) in [
        ("", "the expression is empty; write a CEL expression"),
        (
            "paylod.x",
            "line 1, column 1: there is no variable \"paylod\"; did you mean \"payload\"?",
        ),
        (
            "'é😀' +\n  toipc",
            "line 2, column 3: there is no variable \"toipc\"; did you mean \"topic\"?",
        ),
        (
            "lower(topic)",
            "line 1, column 6: there is no function \"lower\"; there are \"bool\", \"bytes\", \"contains\", \"double\", \"duration\", \"dyn\", \"endsWith\", \"getDate\", \"getDayOfMonth\", \"getDayOfWeek\" and 15 more",
        ),
        (
            "topic.startswith('a')",
            "line 1, column 17: there is no function \"startswith\"; did you mean \"startsWith\"?",
        ),
        ("payload.x.map(y)", "line 1, column 14: \"map\" is called as list.map(x, value)"),
        (
            "params.devcie_id",
            "line 1, column 7: there is no \"params.devcie_id\"; did you mean \"device_id\"?",
        ),
        ("params['rom']", "line 1, column 7: there is no \"params.rom\"; did you mean \"room\"?"),
        (
            "has(params.nothing)",
            "line 1, column 4: there is no \"params.nothing\"; there are \"device_id\", \"room\"",
        ),
        (
            "message.recievedAt",
            "line 1, column 8: there is no \"message.recievedAt\"; did you mean \"receivedAt\"?",
        ),
        (
            "results.other",
            "line 1, column 8: there is no \"results.other\"; there is only \"answer\"",
        ),
        (
            "payload.map(a, a.map(b, b.map(c, c)))",
            "line 1, column 30: lists are walked more than 2 deep (all, exists, map, filter); make it simpler",
        ),
        ("Point{x: 1}", "line 1, column 6: there is no type \"Point\"; make a map {...}"),
        (
            "1 = 2",
            "line 1, column 3: not CEL: token recognition error at: '= ' in \"1 = 2\"; complete what stands before it, or take it away",
        ),
        (
            "payload.",
            "line 1, column 9: not CEL: no viable alternative at input '.' in \"payload.\"; complete what stands before it, or take it away",
        ),
    ] {
        assert_eq!(error(source, &PARAMS), message, "{source}");
    }
}

#[test]
fn results_need_an_earlier_handler() {
    let message = error("results.x == 1", &Scope::default());
    assert!(message.contains("give an earlier handler"), "{message}");
}

#[test]
fn params_are_named_as_missing_where_the_pattern_has_none() {
    let scope = Scope { params: Some(&[]), ..Scope::default() };
    assert_eq!(
        error("params.x", &scope),
        "line 1, column 7: there is no \"params.x\"; the route's pattern has no params"
    );
}

#[test]
fn a_param_that_may_lack_must_be_asked_for() {
    let scope = Scope { params: Some(&["a"]), optional_params: &["b"], results: &[] };
    assert!(Expression::compile("has(params.b) ? params.b : params.a", &scope).is_ok());
    assert!(Expression::compile("params.b", &scope).is_err());
}

#[test]
fn only_an_expression_that_names_the_payload_uses_it() {
    for (source, uses) in [("topic == 'payload'", false), ("has(payload.x)", true)] {
        let expression = Expression::compile(source, &Scope::default()).expect(source);
        assert_eq!(expression.uses_payload(), uses, "{source}");
    }
}

/// Each overflowed a stack of 2 MiB in the parser, in the walk or in the evaluation.
#[test]
fn deep_expressions_neither_overflow_the_stack_nor_take_long() {
    let nested = |open: &str, n: usize, close: &str| open.repeat(n) + "1" + &close.repeat(n);
    for (name, source) in [
        ("selects", format!("payload{}", ".a".repeat(2_000))),
        ("sums", format!("1{}", "+1".repeat(2_000))),
        ("conditions", format!("true{}", "&&true".repeat(600))),
        ("ternaries", "true?1:".repeat(500) + "1"),
        ("nots", "!".repeat(4_000) + "true"),
        ("negations", "-".repeat(4_000) + "1"),
        ("parentheses", nested("(", 2_000, ")")),
        ("lists", nested("[", 45, "]")),
        ("maps", nested("{1:", 45, "}")),
        ("indices", format!("payload{}", "[0]".repeat(1_300))),
        ("calls", format!("payload{}", ".size()".repeat(500))),
        ("loops", nested("payload.map(x,", 40, ")")),
        ("unclosed", "(".repeat(4_000)),
        ("long", "a".repeat(5_000)),
    ] {
        let started = std::time::Instant::now();
        let _ = Expression::compile(&source, &Scope::default());
        assert!(started.elapsed().as_secs() < 5, "{name}: {:?}", started.elapsed());
    }
}

#[test]
fn a_program_as_deep_as_allowed_runs_on_a_small_stack() {
    let source = format!("payload{}", ".a".repeat(check::MAX_DEPTH - 2));
    let expression = Expression::compile(&source, &Scope::default()).expect("as deep as allowed");
    let run = move || expression.program().execute(&cel::Context::default()).is_err();
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("a thread");
    assert!(thread.join().expect("no overflow"));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(source in "\\PC{0,60}") {
        let _ = Expression::compile(&source, &PARAMS);
    }

    #[test]
    fn text_made_of_cel_tokens_never_panics(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "payload", "params", ".", "?", ":", "[", "]", "(", ")", "{", "}", ",", "'a'", "\"", "'''",
            "b'", "r\"", "\\", "\\u12", "1", "0x", "1u", "1e", "-", "!", "has", "all", "map", "exists_one",
            "x", "in", "null", "true", "&&", "||", "==", "+", "%", "//", "\n", "`", "é", "\u{FEFF}",
        ]), 0..24),
    ) {
        let _ = Expression::compile(&tokens.concat(), &PARAMS);
        let _ = Expression::compile(&tokens.join(" "), &PARAMS);
    }
}

#[test]
fn an_expression_without_variables_is_constant() {
    for (source, constant) in [
        ("'ok'", true),
        ("{'a': [1, 2 + 3]}", true),
        ("size('abc')", true),
        ("topic", false),
        ("{'a': params.x}", false),
        ("'x' + payload.y", false),
        ("[1, 2].map(i, i + payload.n)", false),
    ] {
        let expression = Expression::compile(source, &Scope::default()).unwrap();
        assert_eq!(expression.is_constant(), constant, "{source}");
    }
}

#[test]
fn a_path_is_nothing_but_names() {
    for (source, wanted) in [
        ("topic", Some("topic")),
        ("payload.status.code", Some("payload status code")),
        ("(payload).x", Some("payload x")),
        ("payload['x']", None),
        ("has(payload.x)", None),
        ("payload.x + 1", None),
        ("size(payload.x)", None),
        ("'x'", None),
    ] {
        let expression = Expression::compile(source, &Scope::default()).unwrap();
        let path = expression.path().map(|names| names.join(" "));
        assert_eq!(path.as_deref(), wanted, "{source}");
    }
}
