//! The life of a release: install, upgrade, rollback, uninstall. Routes outlive all of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use routemq_tests::{ControlPlane, Directory, folder};

use crate::bed::route;

/// A column that the chart before this one does not have.
const COLUMN: &str = "    - jsonPath: .spec.shared\n      name: Shared\n      type: boolean\n";

/// The chart as it might have been before: another version, a definition that lacks something.
fn previous(directory: &Directory) -> PathBuf {
    let chart = directory.path().join("routemq");
    copy(&folder("charts/routemq"), &chart);
    edit(
        &chart.join("Chart.yaml"),
        "version: 0.1.0\nappVersion: 0.1.0",
        "version: 0.0.9\nappVersion: 0.0.9",
    );
    edit(&chart.join("files/mqttroutes.routemq.io.yaml"), COLUMN, "");
    chart
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn edit(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(old), "{} has not {old:?}", file.display());
    fs::write(file, text.replace(old, new)).unwrap();
}

/// A cluster without the chart, and words for what is in it.
struct Site {
    plane: ControlPlane,
}

impl Site {
    fn helm(&self, arguments: &[&str]) -> String {
        let namespace = ["--namespace", "routemq"];
        self.plane
            .helm(&[arguments, &namespace].concat())
            .unwrap_or_else(|error| panic!("helm {arguments:?}:\n{error}"))
    }

    /// `install` or `upgrade`: no node runs here, so no pod of the operator is asked for.
    fn put(&self, verb: &str, chart: &Path, more: &str) -> String {
        let values = format!("operator.replicas=0{more}");
        let chart = chart.to_string_lossy();
        let options = ["--set", &values];
        let create = if verb == "install" { &["--create-namespace"][..] } else { &[] };
        self.helm(&[&[verb, "routemq", &*chart], &options[..], create].concat())
    }

    fn get(&self, arguments: &[&str]) -> String {
        self.plane.kubectl(&[&["get"], arguments].concat()).unwrap()
    }

    /// The identity of the route, which a deletion would end.
    fn route(&self) -> String {
        self.get(&["mqttroute/devices", "--output", "jsonpath={.metadata.uid}"])
    }

    fn has_column(&self) -> bool {
        self.get(&["mqttroutes"]).contains("SHARED")
    }

    fn image(&self) -> String {
        let query = "jsonpath={.spec.template.spec.containers[0].image}";
        self.get(&["--namespace", "routemq", "deployment/routemq-operator", "--output", query])
    }

    /// What the release put there, but for the definition.
    fn objects(&self) -> String {
        let kinds =
            "deployments,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings";
        let selector = "app.kubernetes.io/managed-by=Helm";
        self.get(&[kinds, "--all-namespaces", "--selector", selector, "--output", "name"])
    }

    fn await_definition(&self) {
        self.plane
            .kubectl(&["wait", "--for=condition=Established", "crd/mqttroutes.routemq.io"])
            .unwrap();
    }
}

#[test]
fn a_release_is_upgraded_rolled_back_and_uninstalled_and_its_routes_stay() {
    let site = Site { plane: ControlPlane::bare() };
    let directory = Directory::new("chart");
    let (before, now) = (previous(&directory), folder("charts/routemq"));
    let notes = site.put("install", &before, "");
    assert!(notes.contains("kubectl apply -f route.yaml"), "the next command is told:\n{notes}");
    site.await_definition();
    site.plane.apply("default", &route("devices", 1)).unwrap();
    let route = site.route();
    assert!(!site.has_column());

    site.put("upgrade", &now, "");
    assert!(site.has_column(), "an upgrade brings the definition up to date");
    assert!(site.image().ends_with(":0.1.0"), "{}", site.image());
    site.helm(&["rollback", "routemq", "1"]);
    assert!(!site.has_column() && site.image().ends_with(":0.0.9"), "a rollback goes all the way");
    site.put("upgrade", &now, "");
    assert_eq!(site.route(), route);

    site.helm(&["uninstall", "routemq"]);
    assert_eq!(site.objects(), "", "an uninstall takes what the release put there");
    assert_eq!(site.route(), route, "but for the definition and the routes");
    site.put("install", &now, ",crds.keep=false");
    assert_eq!(site.route(), route, "which the next installation finds");
    site.helm(&["uninstall", "routemq"]);
    // Unless the values say that the definition goes, and all routes with it.
    let gone = ["wait", "--for=delete", "crd/mqttroutes.routemq.io", "--timeout=60s"];
    site.plane.kubectl(&gone).unwrap();
}

#[test]
fn the_notes_name_the_namespaces_and_say_where_a_broker_is_missing() {
    let site = Site { plane: ControlPlane::bare() };
    let chart = folder("charts/routemq");
    let notes = site.put("install", &chart, ",watchNamespaces={routemq}");
    assert!(notes.contains("serves MqttRoutes in routemq."), "{notes}");
    assert!(notes.contains("--set broker.url=mqtt://"), "{notes}");
    let notes = site.put("upgrade", &chart, ",broker.url=mqtt://broker:1883");
    assert!(notes.contains("serves MqttRoutes in every namespace."), "{notes}");
    assert!(!notes.contains("--set broker.url"), "{notes}");
}
