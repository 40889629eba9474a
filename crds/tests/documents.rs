//! Reading folders, other kinds, Secrets, and whatever bytes a file may hold.

use std::{fs, path::PathBuf};

use proptest::prelude::*;
use routemq_crds::document::{Documents, Position};

const ROUTE: &str = "\
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: devices}
spec:
  routes:
    - name: status
      topic: devices/{id}/status
      handlers: [{log: {}}]
";

fn messages(content: &str) -> Vec<String> {
    let problems = Documents::parse("t.yaml", content).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_and_the_namespace_are_filled_in() {
    let documents = Documents::parse("t.yaml", ROUTE).unwrap();
    let route = &documents.routes[0];
    assert_eq!(route.object.metadata.namespace.as_deref(), Some("default"));
    assert!(route.object.spec.shared);
    assert_eq!(route.object.spec.worker_count, 1);
    assert_eq!(route.line, 1);
}

#[test]
fn other_kinds_are_skipped_with_a_note() {
    let text = format!("{ROUTE}---\n# nothing\n---\napiVersion: apps/v1\nkind: Deployment\n");
    let documents = Documents::parse("t.yaml", text).unwrap();
    assert_eq!(documents.routes.len(), 1);
    assert_eq!(
        documents.notes,
        ["t.yaml:12: skipped apps/v1 Deployment, which routemq does not read"]
    );
}

#[test]
fn items_of_a_list_are_documents_of_their_own() {
    let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
      {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}},
      {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"k": 1}}]}"#;
    let problems = Documents::parse("t.json", text).unwrap_err();
    assert_eq!(problems[0].field, "items[1].data.k");
    assert_eq!(problems[0].position, Some(Position { line: 3, column: 90 }));
    assert_eq!(problems.len(), 1);
}

#[test]
fn plain_secret_data_is_merged_into_data() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: dXNlcg==, b: eA==}\nstringData: {b: plain}\n";
    let documents = Documents::parse("t.yaml", text).unwrap();
    let data = documents.secrets[0].object.data.clone().unwrap();
    assert_eq!(data["a"].0, b"user");
    assert_eq!(data["b"].0, b"plain");
    assert!(documents.secrets[0].object.string_data.is_none());
}

#[test]
fn a_broken_document_does_not_hide_the_problems_of_the_next() {
    let text = format!("a: [1\n---\n{}", ROUTE.replace("topic:", "topik:"));
    let found = messages(&text);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("t.yaml:1:4: not YAML, unclosed bracket"), "{found:#?}");
    assert!(found[1].contains("spec.routes[0].topic: is required"), "{found:#?}");
    assert!(found[2].contains("did you mean topic?"), "{found:#?}");
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let text = format!("{ROUTE}    - <<: &more {{handlers: [{{log: {{}}}}]}}\n      name: more\n      topic: more\n    - {{<<: *x, name: last}}\n")
        .replace("    - name: status", "    - &x\n      name: status");
    let documents = Documents::parse("t.yaml", text).unwrap();
    let names: Vec<_> =
        documents.routes[0].object.spec.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["status", "more", "last"]);
    assert_eq!(documents.routes[0].object.spec.routes[2].topic, "devices/{id}/status");
}

#[test]
fn a_billion_laughs_are_refused_quickly() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let row = vec![format!("*a{}", i - 1); 9].join(", ");
        text.extend(["a", &i.to_string(), ": &a", &i.to_string(), " [", &row, "]\n"]);
    }
    let found = messages(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("more than 200000 values"), "{found:#?}");
}

#[test]
fn deep_nesting_is_refused() {
    let found = messages(&"[".repeat(5000));
    assert!(found[0].contains("nest at most 100 levels"), "{found:#?}");
    assert!(messages(&"- ".repeat(5000))[0].contains("nest at most 100 levels"));
}

#[test]
fn a_byte_that_is_no_text_is_told_with_its_place() {
    let problems = Documents::parse("t.yaml", b"a: b\nc: \xff\n").unwrap_err();
    assert_eq!(problems[0].to_string(), "t.yaml:2:4: is not UTF-8 text: save the file as UTF-8");
}

#[test]
fn folders_are_read_in_order_without_fixtures_and_hidden_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, object: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, ROUTE.replace("devices}", &format!("{object}}}"))).unwrap();
    };
    write("b.yml", "two");
    write("a.yaml", "one");
    write("sub/c.yaml", "three");
    write(".hidden.yaml", "hidden");
    write(".git/x.yaml", "hidden");
    write("routes.test.yaml", "fixture");
    write("README.md", "prose");
    let documents = Documents::load(&[folder.path().to_owned()]).unwrap();
    let names: Vec<_> =
        documents.routes.iter().map(|r| r.object.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert_eq!(documents.files.len(), 3);
}

#[test]
fn a_file_that_is_not_there_is_one_problem() {
    let problems = Documents::load(&[PathBuf::from("/nowhere/x.yaml")]).unwrap_err();
    assert_eq!(problems[0].to_string(), "/nowhere/x.yaml: no such file or folder: check the path");
}

#[test]
fn two_routes_of_one_name_are_refused_across_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.yaml", "b.yaml"] {
        fs::write(folder.path().join(name), ROUTE).unwrap();
    }
    let problems = Documents::load(&[folder.path().to_owned()]).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].file.ends_with("b.yaml"));
    assert_eq!(problems[0].position, Some(Position { line: 3, column: 18 }));
    assert!(
        problems[0].message.contains("MqttRoute default/devices is already in"),
        "{}",
        problems[0]
    );
}

/// Whatever is read, no problem points outside the file or says nothing.
fn holds(content: &[u8]) -> Result<(), TestCaseError> {
    let lines = content.split(|byte| *byte == b'\n').count() + 1;
    for problem in Documents::parse("t.yaml", content).err().unwrap_or_default() {
        let line = problem.position.map_or(1, |p| p.line);
        prop_assert!((1..=lines).contains(&line), "{problem}");
        prop_assert!(!problem.message.is_empty());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(content in proptest::collection::vec(any::<u8>(), 0..400)) {
        holds(&content)?;
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(content in "[a-c:{}\\[\\],\\-&*!|>'\"#%@ \n\t0-9<~?]{0,200}") {
        holds(content.as_bytes())?;
    }

    #[test]
    fn a_damaged_route_is_read_or_refused(
        at in 0..ROUTE.len(),
        cut in 0_usize..20,
        put in "[a-z:{}\\[\\],\\-&*!|>'\"# \n\t0-9\u{85}\u{2028}é]{0,12}",
    ) {
        let end = (at + cut).min(ROUTE.len());
        holds(format!("{}{put}{}", &ROUTE[..at], &ROUTE[end..]).as_bytes())?;
    }
}
