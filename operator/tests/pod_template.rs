//! The pod template, word for word: whatever changes in it restarts every worker when the operator is upgraded.
#![allow(clippy::expect_used, reason = "this is test code: a step that fails is a test that fails")]

use std::{env, fs, path::Path};

use k8s_openapi::api::core::v1::ResourceRequirements;
use routemq_crds::v1alpha1::{Broker, NameRef, Tls};
use routemq_operator::{render::render, settings::Settings};
use serde::Deserialize as _;
use serde_yaml::Value;

/// Set to anything, the template is written down anew.
const WRITE: &str = "ROUTEMQ_TEST_WRITE_TEMPLATE";

/// With every default that the chart can set.
fn settings() -> Settings {
    let name = |name: &str| Some(NameRef { name: name.to_owned() });
    let resources = "{requests: {cpu: 50m, memory: 32Mi}, limits: {memory: 256Mi}}";
    let resources: ResourceRequirements = serde_yaml::from_str(resources).expect("it is YAML");
    Settings {
        worker_image: "ghcr.io/ardzz/routemq:1.2.3".to_owned(),
        worker_resources: resources,
        worker_pull_secrets: Vec::new(),
        broker: Broker {
            url: Some("mqtts://mosquitto.mqtt.svc:8883".to_owned()),
            credentials_secret_ref: name("mqtt-login"),
            tls: Some(Tls { ca_secret_ref: name("ca"), client_cert_secret_ref: None }),
        },
    }
}

/// The templates of a document's Deployments, one after the other.
fn templates(document: &str) -> String {
    let path = Path::new("../crds/tests/accepted").join(document);
    let rendered = render(&[path], &settings()).expect("the document is sound");
    let mut templates = format!("# {document}\n");
    for object in serde_yaml::Deserializer::from_str(&rendered) {
        let object = Value::deserialize(object).expect("it is YAML");
        if object["kind"] == "Deployment" {
            let text = serde_yaml::to_string(&object["spec"]["template"]);
            templates.push_str(&text.expect("it was YAML before"));
        }
    }
    templates
}

#[test]
fn the_pod_template_is_as_it_was_so_that_an_upgrade_restarts_no_worker() {
    let documents = ["smallest", "every-handler", "every-middleware", "pods", "ephemeral"];
    let now: Vec<_> = documents.map(|name| templates(&format!("{name}.yaml"))).into();
    let now = now.join("---\n");
    let file = Path::new("tests/pod_template.yaml");
    if env::var_os(WRITE).is_some() {
        fs::write(file, &now).expect("the checkout can be written");
    }
    let before = fs::read_to_string(file).unwrap_or_default();
    let different: Vec<_> = now
        .lines()
        .zip(before.lines().chain(std::iter::repeat("")))
        .filter(|(now, before)| now != before)
        .map(|(now, before)| format!("- {before}\n+ {now}"))
        .collect();
    assert!(
        now == before,
        "the pod template changes, which restarts every worker at the next upgrade of the operator. Where that is wanted, \
         say so in CHANGELOG.md, and write it down: {WRITE}=1 cargo test -p routemq-operator --test pod_template\n{}",
        different.join("\n")
    );
}
