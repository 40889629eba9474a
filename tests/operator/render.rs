//! `routemq-operator render`: what it prints, an API server takes; what it cannot print, it says.

use std::process::{Command, Output};

use routemq_tests::{ControlPlane, folder, operator_binary};

fn render(path: &str) -> Output {
    Command::new(operator_binary())
        .env("ROUTEMQ_BROKER_URL", "mqtt://mosquitto.mqtt.svc:1883")
        .args(["render", "--file"])
        .arg(folder(path))
        .output()
        .unwrap()
}

#[test]
fn what_is_rendered_is_admitted_by_an_api_server() {
    let plane = ControlPlane::shared();
    for namespace in ["fleet", "python-readme"] {
        // Another test may have made it.
        drop(plane.kubectl(&["create", "namespace", namespace]));
    }
    for path in [
        "examples/quickstart",
        "examples/python-readme",
        "examples/kind/route.yaml",
        "crds/tests/accepted/design.yaml",
        "crds/tests/accepted/every-handler.yaml",
        "crds/tests/accepted/every-middleware.yaml",
        "crds/tests/accepted/pods.yaml",
    ] {
        let output = render(path);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        for kind in ["Deployment", "ConfigMap", "Role", "Lease"] {
            assert!(text.contains(&format!("\nkind: {kind}\n")), "{path} has no {kind}:\n{text}");
        }
        let create = ["create", "--dry-run=server", "--validate=strict", "--filename", "-"];
        plane.kubectl_with(&create, &text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

#[test]
fn what_cannot_be_rendered_is_told_with_exit_code_1_and_nothing_is_printed() {
    for (path, told) in [
        ("crds/tests/refused/handler-none.yaml", "must have exactly one of log"),
        ("crds/tests/refused/group-cycle.yaml", "the groups enclose each other"),
        ("crds/tests/refused/yaml-unclosed-quote.yaml", "yaml-unclosed-quote.yaml:"),
        ("crds/tests/nowhere.yaml", "no such file"),
    ] {
        let output = render(path);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{path}: {error}");
        assert!(error.contains(told), "{path}: {error}");
        assert!(output.stdout.is_empty(), "{path}");
    }
}
