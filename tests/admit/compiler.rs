//! What the API server cannot refuse: the operator does, in the status, and the workers stay as they are.

use std::fs;

use routemq_tests::{ensure, eventually};

use crate::{
    bed::{Bed, SOON, route},
    documents::{admitted, answers, corpus},
};

/// Broken in their text, which the object that kubectl makes of it no longer shows: a key that stands twice, a boolean for a key,
/// nothing where a number belongs, two documents of one name. Only `routemq check` can tell.
const IN_THE_TEXT: [&str; 4] = [
    "refused/same-name-twice.yaml",
    "refused/worker-count-empty.yaml",
    "refused/yaml-boolean-as-key.yaml",
    "refused/yaml-duplicate-key.yaml",
];

/// Broken documents that the API server admits.
fn left_to_the_compiler() -> Vec<&'static str> {
    let broken = answers().iter().filter(|(name, _)| name.starts_with("refused/"));
    let admitted = broken.filter(|(_, answer)| admitted(answer));
    let names = admitted.map(|(name, _)| name.as_str());
    names.filter(|name| !IN_THE_TEXT.contains(name)).collect()
}

/// The problems that a document must be told of, as `field: message`.
fn problems(text: &str) -> Vec<String> {
    let expected = text.lines().filter_map(|line| line.strip_prefix("# expect: "));
    let without_position = |line: &str| {
        let words: Vec<_> = line.splitn(3, ' ').collect();
        line.strip_prefix(words[0]).unwrap_or(line).trim().to_owned()
    };
    expected.map(without_position).collect()
}

/// What may not change: the workers' Deployment and their table.
fn workers(bed: &Bed) -> String {
    ["deployment", "configmap"]
        .map(|kind| bed.field(&format!("{kind}/devices-worker"), ".metadata.resourceVersion"))
        .join(" ")
}

/// Waits for the verdict on the generation that is there now.
async fn verdict(bed: &Bed) -> String {
    eventually("the operator has judged", SOON, async || {
        let object = bed.routes().get("devices").await.map_err(|error| error.to_string())?;
        let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
        let accepted = conditions.into_iter().find(|condition| condition.type_ == "Accepted");
        let accepted = accepted.ok_or("not judged yet")?;
        ensure(accepted.observed_generation == object.metadata.generation, || {
            format!("{accepted:?}")
        })?;
        Ok::<_, String>(format!("{} {}: {}", accepted.status, accepted.reason, accepted.message))
    })
    .await
}

#[tokio::test]
async fn what_only_the_compiler_refuses_is_told_completely_and_leaves_the_workers_alone() {
    let bed = Bed::new().await;
    // As many workers as the documents want: how many there are follows a refused spec too.
    bed.apply(&route("devices", 1));
    bed.condition("devices", "Progressing", ("False", "Complete")).await;
    let before = workers(&bed);
    let documents = left_to_the_compiler();
    assert!(documents.len() >= 20, "{documents:?}");
    for name in documents {
        let text = fs::read_to_string(corpus().join(name)).unwrap();
        let mine = text.replace("namespace: fleet", &format!("namespace: {}", bed.namespace));
        bed.kubectl_with(&["replace", "--filename", "-"], &mine).unwrap();
        let verdict = verdict(&bed).await;
        let problems = problems(&text);
        assert!(verdict.starts_with("False Invalid: "), "{name}: {verdict}");
        for problem in &problems {
            assert!(verdict.contains(problem), "{name}: {problem:?} is not told:\n{verdict}");
        }
        let told = verdict.len() - "False Invalid: ".len();
        assert_eq!(told, problems.join("; ").len(), "{name} is told of more:\n{verdict}");
        assert_eq!(workers(&bed), before, "{name} touched the workers");
    }
}
