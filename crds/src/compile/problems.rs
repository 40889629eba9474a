//! The table of refusals: a spec, and every problem that it has.

use super::{tests::spec, *};

#[test]
fn every_fault_is_named_with_its_field_and_fix() {
    for (name, yaml, expected) in CASES {
        let problems = compile(&spec(yaml)).err().unwrap_or_default();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, *expected, "{name}");
    }
}

/// Name, spec, problems.
type Case = (&'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("no routes", "{routes: []}", &[
        "spec.routes: is empty; add a route",
    ]),
    ("a broker without a scheme we speak", "{broker: {url: 'tcp://h:1883'}, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.broker.url: "tcp://h:1883" must begin with mqtt://, mqtts://, ws:// or wss://"#,
    ]),
    ("a broker without a host", "{broker: {url: 'mqtt://:1883'}, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.broker.url: "mqtt://:1883" names no host; write mqtt://HOST:PORT"#,
    ]),
    ("a broker with a password", "{broker: {url: 'mqtt://u:secret@h'}, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        "spec.broker.url: holds a user or password; put them into credentialsSecretRef",
    ]),
    ("too many workers", "{workerCount: 1001, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        "spec.workerCount: is 1001; it must be 0 to 1000",
    ]),
    ("workers of a plain subscription", "{workerCount: 2, shared: false, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        "spec.workerCount: is 2 while shared is false, so each worker would get every message; set workerCount: 1 or shared: true",
    ]),
    ("a share name with a slash", "{shareName: a/b, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.shareName: "a/b" holds '/'; use letters, digits, "." and "-""#,
    ]),
    ("an empty share name", "{shareName: '', routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        "spec.shareName: is empty; name the share or leave the field out",
    ]),
    ("a misspelt parent", "{groups: [{name: devices}, {name: admin, parent: devcies}], routes: [{name: a, group: admin, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.groups[1].parent: there is no group "devcies"; did you mean "devices"?"#,
    ]),
    ("groups in a circle", "{groups: [{name: a, parent: c}, {name: b, parent: a}, {name: c, parent: b}], routes: [{name: a, group: a, topic: a, handlers: [{log: {}}]}]}", &[
        "spec.groups[0].parent: the groups enclose each other (a → c → b → a); take one parent away",
    ]),
    ("a group of its own", "{groups: [{name: a, parent: a}], routes: [{name: a, group: a, topic: a, handlers: [{log: {}}]}]}", &[
        "spec.groups[0].parent: the groups enclose each other (a → a); take one parent away",
    ]),
    ("nine groups deep", "{groups: [{name: g1}, {name: g2, parent: g1}, {name: g3, parent: g2}, {name: g4, parent: g3}, {name: g5, parent: g4}, {name: g6, parent: g5}, {name: g7, parent: g6}, {name: g8, parent: g7}, {name: g9, parent: g8}], routes: [{name: a, group: g9, topic: a, handlers: [{log: {}}]}]}", &[
        "spec.groups[8].parent: \"g9\" is 9 groups deep; at most 8 are allowed; give some of them one prefix of two levels, such as a/b",
    ]),
    ("two groups of a name", "{groups: [{name: a}, {name: a}], routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.groups[1].name: "a" is the name of spec.groups[0] too; rename one"#,
    ]),
    ("a bad group name", "{groups: [{name: 'a b'}], routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.groups[0].name: "a b" may hold only letters, digits, ".", "_" and "-""#,
    ]),
    ("an unknown group", "{groups: [{name: devices}], routes: [{name: a, group: device, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.routes[0].group: there is no group "device"; did you mean "devices"?"#,
    ]),
    ("a group where there are none", "{routes: [{name: a, group: x, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.routes[0].group: there is no group "x"; spec.groups is empty"#,
    ]),
    ("two routes of a name", "{routes: [{name: a, topic: a, handlers: [{log: {}}]}, {name: a, topic: b, handlers: [{log: {}}]}]}", &[
        r#"spec.routes[1].name: "a" is the name of spec.routes[0] too; rename one"#,
    ]),
    ("an empty route name", "{routes: [{name: '', topic: a, handlers: [{log: {}}]}]}", &[
        "spec.routes[0].name: is empty; give it a name",
    ]),
    ("a bad pattern", "{routes: [{name: a, topic: 'dev-{id}', handlers: [{log: {}}]}]}", &[
        r#"spec.routes[0].topic: level 1 "dev-{id}" of "dev-{id}": a param must be a whole level; write it between slashes, such as "dev/{id}""#,
    ]),
    ("a hash that a prefix puts first", "{groups: [{name: g, prefix: 'a/#'}], routes: [{name: a, group: g, topic: b, handlers: [{log: {}}]}]}", &[
        r##"spec.routes[0].topic: level 2 "#" of "a/#/b": "#" stands for all further levels, so it must be the last; use "+" for one level"##,
    ]),
    ("a param twice through a prefix", "{groups: [{name: g, prefix: 'a/{id}'}], routes: [{name: a, group: g, topic: 'b/{id}', handlers: [{log: {}}]}]}", &[
        r#"spec.routes[0].topic: level 4 of "a/{id}/b/{id}": the param "id" is there twice; rename one of them"#,
    ]),
    ("an empty topic", "{routes: [{name: a, topic: '', handlers: [{log: {}}]}]}", &[
        r#"spec.routes[0].topic: the topic is empty; write at least one level, such as "status""#,
    ]),
    ("the same pattern twice", "{routes: [{name: a, topic: 'x/{a}', handlers: [{log: {}}]}, {name: b, topic: 'x/{b}', handlers: [{log: {}}]}]}", &[
        r#"spec.routes[1].topic: the routes "a" and "b" match the same topics ("x/{b}"); change one, or put the handlers of both into one route"#,
    ]),
    ("a param and a plus", "{routes: [{name: a, topic: 'x/{a}', handlers: [{log: {}}]}, {name: b, topic: 'x/+', handlers: [{log: {}}]}]}", &[
        r#"spec.routes[1].topic: the routes "a" and "b" match the same topics ("x/+"); change one, or put the handlers of both into one route"#,
    ]),
    ("a tail and a hash", "{routes: [{name: a, topic: 'x/{a...}', handlers: [{log: {}}]}, {name: b, topic: 'x/#', handlers: [{log: {}}]}]}", &[
        r#"spec.routes[1].topic: the routes "a" and "b" match the same topics ("x/#"); change one, or put the handlers of both into one route"#,
    ]),
    ("a typed difference is fine", "{routes: [{name: a, topic: 'x/{a:int}', handlers: [{log: {}}]}, {name: b, topic: 'x/{a:float}', handlers: [{log: {}}]}, {name: c, topic: 'x/+', handlers: [{log: {}}]}]}", &[]),
    ("qos beyond two", "{routes: [{name: a, topic: a, qos: 3, handlers: [{log: {}}]}]}", &[
        "spec.routes[0].qos: is 3; it must be 0 to 2",
    ]),
    ("payload bounds", "{routes: [{name: a, topic: a, payload: {maxBytes: 0, maxDepth: 129}, handlers: [{log: {}}]}]}", &[
        "spec.routes[0].payload.maxBytes: is 0; it must be 1 to 268435455",
        "spec.routes[0].payload.maxDepth: is 129; it must be 1 to 128",
    ]),
    ("no handlers", "{routes: [{name: a, topic: a, handlers: []}]}", &[
        "spec.routes[0].handlers: is empty; add a handler, such as log: {}",
    ]),
    ("nine handlers", "{routes: [{name: a, topic: a, handlers: [{log: {}}, {log: {}}, {log: {}}, {log: {}}, {log: {}}, {log: {}}, {log: {}}, {log: {}}, {log: {}}]}]}", &[
        "spec.routes[0].handlers: has 9 handlers; at most 8 are allowed",
    ]),
    ("a handler without a key", "{routes: [{name: a, topic: a, handlers: [{when: 'true'}]}]}", &[
        "spec.routes[0].handlers[0]: has 0 of log, publish, reply, sql, http and custom; write exactly one, and a list entry for each handler",
    ]),
    ("a handler with two keys", "{routes: [{name: a, topic: a, handlers: [{log: {}, custom: {name: x}}]}]}", &[
        "spec.routes[0].handlers[0]: has 2 of log, publish, reply, sql, http and custom; write exactly one, and a list entry for each handler",
    ]),
    ("middleware without a key", "{routes: [{name: a, topic: a, middleware: [{}], handlers: [{log: {}}]}]}", &[
        "spec.routes[0].middleware[0]: has 0 of log, apiKey, rateLimit, filter, validate, transform, dedup, timeout and custom; write exactly one, and a list entry for each step",
    ]),
    ("an unknown param in an expression", "{routes: [{name: a, topic: 'a/{id}', handlers: [{when: params.idd == 'x', log: {}}]}]}", &[
        r#"spec.routes[0].handlers[0].when: line 1, column 7: there is no "params.idd"; did you mean "id"?"#,
    ]),
    ("a long expression", "{routes: [{name: a, topic: a, handlers: [{when: LONG, log: {}}]}]}", &[
        "spec.routes[0].handlers[0].when: the expression has 1025 characters; at most 1024 are allowed; shorten it",
    ]),
    ("results before they are there", "{routes: [{name: a, topic: a, handlers: [{when: results.x == 1, as: x, log: {}}]}]}", &[
        "spec.routes[0].handlers[0].when: line 1, column 1: there are no results here; give an earlier handler of the route `as: NAME`",
    ]),
    ("results of a later handler", "{routes: [{name: a, topic: a, handlers: [{as: y, log: {}}, {when: results.x == 1, log: {}}, {as: x, log: {}}]}]}", &[
        r#"spec.routes[0].handlers[1].when: line 1, column 8: there is no "results.x"; there is only "y""#,
    ]),
    ("results of an earlier handler are fine", "{routes: [{name: a, topic: a, handlers: [{as: x, custom: {name: c}}, {when: results.x == 1, log: {}}]}]}", &[]),
    ("a result twice", "{routes: [{name: a, topic: a, handlers: [{as: x, log: {}}, {as: x, log: {}}]}]}", &[
        r#"spec.routes[0].handlers[1].as: "x" is the name of an earlier handler too; rename one"#,
    ]),
    ("a result with a dash", "{routes: [{name: a, topic: a, handlers: [{as: x-y, log: {}}]}]}", &[
        r#"spec.routes[0].handlers[0].as: "x-y" is no name; use letters, digits and "_", not a digit first, at most 63"#,
    ]),
    ("an unknown placeholder", "{routes: [{name: a, topic: 'a/{id}', handlers: [{publish: {topic: 'b/{di}', payload: payload}}]}]}", &[
        "spec.routes[0].handlers[0].publish.topic: no param {di} in the route's pattern; it has {id}",
    ]),
    ("a wildcard to publish to", "{routes: [{name: a, topic: a, handlers: [{publish: {topic: 'b/+', payload: payload}}]}]}", &[
        r#"spec.routes[0].handlers[0].publish.topic: "b/+" holds the wildcard "+"; a topic to publish to has none, use {param} for a value"#,
    ]),
    ("publish numbers", "{routes: [{name: a, topic: a, handlers: [{publish: {topic: b, payload: '1', qos: 7, expirySeconds: 0}}]}]}", &[
        "spec.routes[0].handlers[0].publish.qos: is 7; it must be 0 to 2",
        "spec.routes[0].handlers[0].publish.expirySeconds: is 0; it must be 1 to 4294967295",
    ]),
    ("a publish to itself", "{routes: [{name: a, topic: 'x/#', handlers: [{publish: {topic: x/y, payload: payload}}]}]}", &[
        r#"spec.routes[0].handlers[0].publish.topic: route "a" receives what it publishes here, for ever; publish to a topic that it does not match"#,
    ]),
    ("a publish to itself through a param", "{routes: [{name: a, topic: 'x/{id}', handlers: [{publish: {topic: 'x/{id}', payload: payload}}]}]}", &[
        r#"spec.routes[0].handlers[0].publish.topic: route "a" receives what it publishes here, for ever; publish to a topic that it does not match"#,
    ]),
    ("a fallback topic to itself", "{routes: [{name: a, topic: 'x/{id}', handlers: [{reply: {fallbackTopic: 'x/{id}', payload: payload}}]}]}", &[
        r#"spec.routes[0].handlers[0].reply.fallbackTopic: route "a" receives what it publishes here, for ever; publish to a topic that it does not match"#,
    ]),
    ("two routes in a circle", "{routes: [{name: a, topic: 'a/{id}', handlers: [{publish: {topic: 'b/{id}', payload: payload}}]}, {name: b, topic: 'b/{id}', handlers: [{publish: {topic: 'a/{id}', payload: payload}}]}]}", &[
        r#"spec.routes[0].handlers[0].publish.topic: what is published here comes back to route "a" through b, for ever; publish to another topic"#,
        r#"spec.routes[1].handlers[0].publish.topic: what is published here comes back to route "b" through a, for ever; publish to another topic"#,
    ]),
    ("three routes in a circle", "{routes: [{name: a, topic: a, handlers: [{publish: {topic: b, payload: payload}}]}, {name: b, topic: b, handlers: [{publish: {topic: c, payload: payload}}]}, {name: c, topic: c, handlers: [{publish: {topic: a, payload: payload}}]}]}", &[
        r#"spec.routes[0].handlers[0].publish.topic: what is published here comes back to route "a" through b → c, for ever; publish to another topic"#,
        r#"spec.routes[1].handlers[0].publish.topic: what is published here comes back to route "b" through c → a, for ever; publish to another topic"#,
        r#"spec.routes[2].handlers[0].publish.topic: what is published here comes back to route "c" through a → b, for ever; publish to another topic"#,
    ]),
    ("a chain that ends is fine", "{routes: [{name: a, topic: a, handlers: [{publish: {topic: b, payload: payload}}]}, {name: b, topic: b, handlers: [{publish: {topic: c, payload: payload}}]}]}", &[]),
    ("a more specific route takes it and ends it", "{routes: [{name: a, topic: 'x/#', handlers: [{publish: {topic: 'x/{route}/done', payload: payload}}]}, {name: b, topic: 'x/{id}/done', handlers: [{log: {}}]}]}", &[]),
    ("a partial level that cannot match is fine", "{routes: [{name: a, topic: 'x/{id}/in', handlers: [{publish: {topic: 'x/dev-{id}/out', payload: payload}}]}]}", &[]),
    ("a dead letter to itself", "{routes: [{name: a, topic: 'dead/#', handlers: [{log: {}}]}], delivery: {deadLetter: {topic: 'dead/{route}'}}}", &[
        r#"spec.delivery.deadLetter.topic: for route "a": "dead/{route}" is matched by the filter "dead/#" of this object, so a dead letter would come back; take another topic"#,
    ]),
    ("a dead letter to another route", "{routes: [{name: a, topic: 'a/{id}', handlers: [{log: {}}]}, {name: b, topic: 'lost/{id}', handlers: [{log: {}}]}], delivery: {deadLetter: {topic: 'lost/{route}'}}}", &[
        r#"spec.delivery.deadLetter.topic: for route "a": "lost/{route}" is matched by the filter "lost/+" of this object, so a dead letter would come back; take another topic"#,
        r#"spec.delivery.deadLetter.topic: for route "b": "lost/{route}" is matched by the filter "lost/+" of this object, so a dead letter would come back; take another topic"#,
    ]),
    ("a dead letter with a param that one route lacks", "{routes: [{name: a, topic: 'a/{id}', handlers: [{log: {}}]}, {name: b, topic: b, handlers: [{log: {}}]}], delivery: {deadLetter: {topic: 'dead/{id}'}}}", &[
        r#"spec.delivery.deadLetter.topic: for route "b": no param {id} in the route's pattern; it has none"#,
    ]),
    ("delivery numbers", "{routes: [{name: a, topic: a, handlers: [{log: {}}]}], delivery: {sessionExpirySeconds: -1, receiveMaximum: 65536, concurrency: 0, timeoutSeconds: 0, maxAttempts: 0}}", &[
        "spec.delivery.timeoutSeconds: is 0; it must be 1 to 3600",
        "spec.delivery.sessionExpirySeconds: is -1; it must be 0 to 4294967295",
        "spec.delivery.receiveMaximum: is 65536; it must be 1 to 65535",
        "spec.delivery.concurrency: is 0; it must be 1 to 10000",
        "spec.delivery.maxAttempts: is 0; it must be 1 to 100",
    ]),
    ("an order by a param that one route lacks", "{routes: [{name: a, topic: 'a/{id}', handlers: [{log: {}}]}, {name: b, topic: b, handlers: [{log: {}}]}], delivery: {orderBy: params.id}}", &[
        r#"spec.delivery.orderBy: line 1, column 7: there is no "params.id"; the route's pattern has no params"#,
    ]),
    ("an order that asks for the param is fine", "{routes: [{name: a, topic: 'a/{id}', handlers: [{log: {}}]}, {name: b, topic: b, handlers: [{log: {}}]}], delivery: {orderBy: 'has(params.id) ? params.id : topic'}}", &[]),
    ("rate limit numbers", "{routes: [{name: a, topic: a, middleware: [{rateLimit: {limit: 0, perSeconds: 0, burst: 0, action: DeadLetter}}], handlers: [{log: {}}]}]}", &[
        "spec.routes[0].middleware[0].rateLimit.limit: is 0; it must be 1 to 1000000",
        "spec.routes[0].middleware[0].rateLimit.perSeconds: is 0; it must be 1 to 86400",
        "spec.routes[0].middleware[0].rateLimit.burst: is 0; it must be 1 to 1000000",
        "spec.routes[0].middleware[0].rateLimit.action: is DeadLetter, but spec.delivery.deadLetter is missing; add it or take Drop",
    ]),
    ("an API key from nowhere", "{routes: [{name: a, topic: a, middleware: [{apiKey: {secretRef: {name: s, key: k}}}], handlers: [{log: {}}]}]}", &[
        "spec.routes[0].middleware[0].apiKey: has neither of field and userProperty; say by exactly one where the key is",
    ]),
    ("an API key from two places", "{routes: [{name: a, topic: a, middleware: [{apiKey: {secretRef: {name: s, key: k}, field: a, userProperty: b}}], handlers: [{log: {}}]}]}", &[
        "spec.routes[0].middleware[0].apiKey: has both of field and userProperty; say by exactly one where the key is",
    ]),
    ("an API key from an empty path", "{routes: [{name: a, topic: a, middleware: [{apiKey: {secretRef: {name: s, key: k}, field: a..b}}], handlers: [{log: {}}]}]}", &[
        r#"spec.routes[0].middleware[0].apiKey.field: "a..b" has an empty part; write a dotted path such as auth.key"#,
    ]),
    ("a schema that is none", "{routes: [{name: a, topic: a, middleware: [{validate: {schema: {type: strin}}}], handlers: [{log: {}}]}]}", &[
        r#"spec.routes[0].middleware[0].validate.schema: is no JSON Schema at "/type": "strin" is not valid under any of the schemas listed in the 'anyOf' keyword; write what JSON Schema allows there, such as {type: object}"#,
    ]),
    ("no schema", "{routes: [{name: a, topic: a, middleware: [{validate: {}}], handlers: [{log: {}}]}]}", &[
        "spec.routes[0].middleware[0].validate: has neither of schema and configMapRef; say by exactly one where the JSON Schema is",
    ]),
    ("an empty transform", "{routes: [{name: a, topic: a, middleware: [{transform: {}}], handlers: [{log: {}}]}]}", &[
        "spec.routes[0].middleware[0].transform: sets and removes nothing; write set, remove or both",
    ]),
    ("a broken dedup", "{routes: [{name: a, topic: a, middleware: [{dedup: {key: 'x +', windowSeconds: 0}}], handlers: [{log: {}}]}]}", &[
        "spec.routes[0].middleware[0].dedup.key: line 1, column 4: not CEL: \"x +\" ends too early; complete it",
        "spec.routes[0].middleware[0].dedup.windowSeconds: is 0; it must be 1 to 86400",
    ]),
    ("a group's filter knows the params of each route", "{groups: [{name: g, middleware: [{filter: {expression: params.id != ''}}]}], routes: [{name: a, group: g, topic: a, handlers: [{log: {}}]}, {name: b, group: g, topic: 'b/{id}', handlers: [{log: {}}]}]}", &[
        r#"spec.groups[0].middleware[0].filter.expression: for route "a": line 1, column 7: there is no "params.id"; the route's pattern has no params"#,
    ]),
    ("a table that is no identifier", "{routes: [{name: a, topic: a, handlers: [{sql: {table: 'a; drop', columns: {x: payload}}}]}]}", &[
        r#"spec.routes[0].handlers[0].sql.table: "a; drop" is no name; use letters, digits and "_", not a digit first, at most 63"#,
    ]),
    ("a column that is no identifier", "{routes: [{name: a, topic: a, handlers: [{sql: {table: a.b, columns: {x-y: payload}}}]}]}", &[
        r#"spec.routes[0].handlers[0].sql.columns.x-y: "x-y" is no name; use letters, digits and "_", not a digit first, at most 63"#,
    ]),
    ("a table without columns", "{routes: [{name: a, topic: a, handlers: [{sql: {table: a.b.c}}]}]}", &[
        r#"spec.routes[0].handlers[0].sql.table: "a.b.c" has more than one dot; write table or schema.table"#,
        "spec.routes[0].handlers[0].sql.columns: is empty; say which column gets which value",
    ]),
    ("a table and a statement", "{routes: [{name: a, topic: a, handlers: [{sql: {table: a, statement: select 1}}]}]}", &[
        "spec.routes[0].handlers[0].sql: has both of table and statement; write table with columns, or statement with binds",
    ]),
    ("neither table nor statement", "{routes: [{name: a, topic: a, handlers: [{sql: {}}]}]}", &[
        "spec.routes[0].handlers[0].sql: has neither of table and statement; write table with columns, or statement with binds",
    ]),
    ("a conflict without a key", "{routes: [{name: a, topic: a, handlers: [{sql: {table: a, columns: {x: payload}, onConflict: Ignore}}]}]}", &[
        "spec.routes[0].handlers[0].sql.key: is missing, and onConflict is Ignore; list the columns of the unique key",
    ]),
    ("a key that is no column", "{routes: [{name: a, topic: a, handlers: [{sql: {table: a, columns: {device: payload}, onConflict: Update, key: [devcie]}}]}]}", &[
        r#"spec.routes[0].handlers[0].sql.key[0]: "devcie" is none of the columns; did you mean "device"?"#,
    ]),
    ("a bind that is missing", "{routes: [{name: a, topic: a, handlers: [{sql: {statement: 'insert into t values (:a, :b)', binds: {a: payload}}}]}]}", &[
        r#"spec.routes[0].handlers[0].sql.binds: has no "b", and the statement binds :b; add it"#,
    ]),
    ("a bind too many", "{routes: [{name: a, topic: a, handlers: [{sql: {statement: 'insert into t values (:a)', binds: {a: payload, b: payload}}}]}]}", &[
        r#"spec.routes[0].handlers[0].sql.binds.b: the statement has no :b; there is only "a""#,
    ]),
    ("two statements", "{routes: [{name: a, topic: a, handlers: [{sql: {statement: 'delete from t; drop table t'}}]}]}", &[
        "spec.routes[0].handlers[0].sql.statement: holds more than one statement; write one handler for each",
    ]),
    ("an unclosed quote", "{routes: [{name: a, topic: a, handlers: [{sql: {statement: 'select ''a'}}]}]}", &[
        "spec.routes[0].handlers[0].sql.statement: has a quoted text without its end; close it, and write a quote inside of quotes twice",
    ]),
    ("a statement with columns", "{routes: [{name: a, topic: a, handlers: [{sql: {statement: select 1, columns: {a: payload}}}]}]}", &[
        "spec.routes[0].handlers[0].sql.columns: belongs to a table; say it in the statement itself",
    ]),
    ("an address without http", "{routes: [{name: a, topic: a, handlers: [{http: {url: 'ftp://h/x'}}]}]}", &[
        r#"spec.routes[0].handlers[0].http.url: "ftp://h/x" must begin with https:// or http://"#,
    ]),
    ("a placeholder in the host", "{routes: [{name: a, topic: 'a/{id}', handlers: [{http: {url: 'https://{id}.h/x'}}]}]}", &[
        r#"spec.routes[0].handlers[0].http.url: "https://{id}.h/x" has a placeholder in its host; {param} may stand after the host only"#,
    ]),
    ("an unknown placeholder in an address", "{routes: [{name: a, topic: 'a/{id}', handlers: [{http: {url: 'https://h/{x}'}}]}]}", &[
        r#"spec.routes[0].handlers[0].http.url: there is no param {x} in the route's pattern; there is only "id""#,
    ]),
    ("a method and a header", "{routes: [{name: a, topic: a, handlers: [{http: {url: 'https://h', method: STEAL, headers: {'a b': payload}, timeoutSeconds: 0}}]}]}", &[
        r#"spec.routes[0].handlers[0].http.method: "STEAL" is none of GET, POST, PUT, PATCH, DELETE"#,
        r#"spec.routes[0].handlers[0].http.headers.a b: "a b" is no name of a header; use letters, digits and "-""#,
        "spec.routes[0].handlers[0].http.timeoutSeconds: is 0; it must be 1 to 3600",
    ]),
    ("a custom handler without a name", "{routes: [{name: a, topic: a, handlers: [{custom: {name: ''}}]}]}", &[
        "spec.routes[0].handlers[0].custom.name: is empty; write the name that the worker image registers",
    ]),
    ("labels of pods and nodes", "{worker: {nodeSelector: {disk: 'fast disk'}, podLabels: {team: '-blue', 'x y': a, 'Ex.com/z': b}, podAnnotations: {'/n': any thing}}, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.worker.nodeSelector.disk: "fast disk" is no label value; write at most 63 letters, digits, "-", "_" and ".", with a letter or digit first and last"#,
        r#"spec.worker.podLabels.team: "-blue" is no label value; write at most 63 letters, digits, "-", "_" and ".", with a letter or digit first and last"#,
        r#"spec.worker.podLabels.x y: "x y" is no key; write a name of at most 63 letters, digits, "-", "_" and ".", after a domain and a slash if it has one, as in example.com/team"#,
        r#"spec.worker.podLabels.Ex.com/z: "Ex.com/z" is no key; write a name of at most 63 letters, digits, "-", "_" and ".", after a domain and a slash if it has one, as in example.com/team"#,
        r#"spec.worker.podAnnotations./n: "/n" is no key; write a name of at most 63 letters, digits, "-", "_" and ".", after a domain and a slash if it has one, as in example.com/team"#,
    ]),
    ("labels at their limits are fine", "{worker: {podLabels: {aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: Z9-_.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb0, example.com/a_b.c: ''}}, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[]),
    ("quantities", "{worker: {resources: {requests: {cpu: '2', memory: 64MB}, limits: {cpu: 500m, memory: '-1'}}}, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}", &[
        r#"spec.worker.resources.requests.memory: "64MB" is no quantity; write a number and a unit such as 500m, 64Mi or 2"#,
        r#"spec.worker.resources.requests.cpu: "2" is more than the limit "500m"; raise the limit or lower the request"#,
        r#"spec.worker.resources.limits.memory: "-1" is negative; write 0 or more"#,
    ]),
    ("everything at once comes in the order of the spec", "{workerCount: -1, shareName: '#', groups: [{name: g, parent: x}], routes: [{name: a, topic: a, qos: 9, middleware: [{timeout: {seconds: 0}}], handlers: [{log: {message: nope}}]}, {name: a, topic: a, handlers: []}], delivery: {maxAttempts: 0}}", &[
        "spec.workerCount: is -1; it must be 0 to 1000",
        r##"spec.shareName: "#" holds '#'; use letters, digits, "." and "-""##,
        r#"spec.groups[0].parent: there is no group "x"; there is only "g""#,
        "spec.routes[0].qos: is 9; it must be 0 to 2",
        "spec.routes[0].middleware[0].timeout.seconds: is 0; it must be 1 to 3600",
        r#"spec.routes[0].handlers[0].log.message: line 1, column 1: there is no variable "nope"; there are "topic", "params", "payload", "message", "route", "results""#,
        r#"spec.routes[1].name: "a" is the name of spec.routes[0] too; rename one"#,
        r#"spec.routes[1].topic: the routes "a" and "a" match the same topics ("a"); change one, or put the handlers of both into one route"#,
        "spec.routes[1].handlers: is empty; add a handler, such as log: {}",
        "spec.delivery.maxAttempts: is 0; it must be 1 to 100",
    ]),
];
