//! What helm renders in each mode.

use routemq_tests::{ControlPlane, folder};
use serde_json::{Deserializer, Value, json};

/// Namespaces of the namespaced mode.
const WATCHED: [&str; 2] = ["fleet-a", "fleet-b"];

/// One way to install.
#[derive(Clone, Copy, Debug)]
struct Mode {
    namespaced: bool,
    crds: bool,
    keep: bool,
}

impl Mode {
    fn all() -> impl Iterator<Item = Self> {
        (0..8).map(|bits| Self {
            namespaced: bits & 1 == 1,
            crds: bits & 2 == 2,
            keep: bits & 4 == 4,
        })
    }

    fn values(self) -> String {
        let (crds, keep) = (self.crds, self.keep);
        let watched = format!(",watchNamespaces={{{}}}", WATCHED.join(","));
        let watched = if self.namespaced { &*watched } else { "" };
        format!("crds.enabled={crds},crds.keep={keep}{watched}")
    }

    /// The objects, in the order of the templates.
    fn objects(self) -> Vec<Value> {
        let chart = folder("charts/routemq");
        let plane = ControlPlane::shared();
        let options = ["--namespace", "mq", "--set", &self.values()];
        let yaml = plane
            .helm(&[&["template", "probe", &*chart.to_string_lossy()], &options[..]].concat())
            .unwrap_or_else(|error| panic!("{self:?}: {error}"));
        // kubectl reads the YAML; nothing is sent.
        let convert =
            ["create", "--dry-run=client", "--validate=false", "--output=json", "--filename", "-"];
        let json = plane.kubectl_with(&convert, &yaml).unwrap();
        Deserializer::from_str(&json).into_iter().map(Result::unwrap).collect()
    }
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// Every rule of every role.
fn rules(objects: &[Value]) -> Vec<&Value> {
    let roles = ["Role", "ClusterRole"].map(|kind| of_kind(objects, kind)).concat();
    roles.into_iter().flat_map(|role| role["rules"].as_array().unwrap()).collect()
}

fn lists(rule: &Value, field: &str, word: &str) -> bool {
    rule[field].as_array().into_iter().flatten().any(|entry| entry == word)
}

#[test]
fn no_mode_grants_a_wildcard_or_anything_on_secrets() {
    for mode in Mode::all() {
        let objects = mode.objects();
        let rules = rules(&objects);
        assert!(rules.len() > 5, "{mode:?}: {rules:?}");
        for rule in rules {
            for field in ["verbs", "resources", "apiGroups"] {
                assert!(!lists(rule, field, "*"), "{mode:?}: {rule}");
            }
            assert!(!lists(rule, "resources", "secrets"), "{mode:?}: {rule}");
        }
    }
}

#[test]
fn rights_are_cluster_wide_only_where_every_namespace_is_served() {
    for mode in Mode::all() {
        let objects = mode.objects();
        let wide = ["ClusterRole", "ClusterRoleBinding"].map(|kind| of_kind(&objects, kind).len());
        assert_eq!(wide, if mode.namespaced { [0, 0] } else { [1, 1] }, "{mode:?}");
        for kind in ["Role", "RoleBinding"] {
            let namespaces: Vec<_> = of_kind(&objects, kind)
                .iter()
                .map(|role| role["metadata"]["namespace"].as_str().unwrap())
                .collect();
            let wanted =
                if mode.namespaced { vec!["mq", WATCHED[0], WATCHED[1]] } else { vec!["mq"] };
            assert_eq!(namespaces, wanted, "{mode:?} {kind}");
        }
        let served = objects_environment(&objects, "ROUTEMQ_WATCH_NAMESPACES");
        assert_eq!(served, if mode.namespaced { WATCHED.join(",") } else { String::new() });
    }
}

fn objects_environment(objects: &[Value], name: &str) -> String {
    let deployment = of_kind(objects, "Deployment")[0];
    let variables = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
    let variable = variables.as_array().unwrap().iter().find(|entry| entry["name"] == name);
    variable.and_then(|it| it["value"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn the_definition_is_rendered_and_kept_as_the_values_say() {
    for mode in Mode::all() {
        let objects = mode.objects();
        let definitions = of_kind(&objects, "CustomResourceDefinition");
        assert_eq!(definitions.len(), usize::from(mode.crds), "{mode:?}");
        for definition in definitions {
            let policy = definition["metadata"]["annotations"].get("helm.sh/resource-policy");
            assert_eq!(policy, mode.keep.then_some(&json!("keep")), "{mode:?}");
        }
    }
}

#[test]
fn every_pod_is_admitted_under_pod_security_restricted_and_bounded() {
    let plane = ControlPlane::shared();
    plane.kubectl(&["create", "namespace", "restricted"]).unwrap();
    let label = "pod-security.kubernetes.io/enforce=restricted";
    plane.kubectl(&["label", "namespace", "restricted", label]).unwrap();
    for mode in Mode::all() {
        for deployment in of_kind(&mode.objects(), "Deployment") {
            let mut spec = deployment["spec"]["template"]["spec"].clone();
            for container in spec["containers"].as_array().unwrap() {
                let resources = &container["resources"];
                for bound in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                    assert!(resources.pointer(bound).is_some(), "{mode:?}: {bound}: {resources}");
                }
                assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            }
            // Whose account need not be there.
            spec["serviceAccountName"] = json!("default");
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": spec});
            let create =
                ["--namespace", "restricted", "create", "--dry-run=server", "--filename", "-"];
            plane.kubectl_with(&create, &pod.to_string()).unwrap();
        }
    }
}

#[test]
fn the_chart_passes_helms_own_checks_in_each_mode() {
    let chart = folder("charts/routemq");
    for mode in Mode::all() {
        let lint = ["lint", "--strict", &*chart.to_string_lossy(), "--set", &mode.values()];
        ControlPlane::shared().helm(&lint).unwrap_or_else(|error| panic!("{mode:?}: {error}"));
    }
}
