//! Every folder of examples that `dev` can run.

use std::collections::BTreeSet;

use crate::program::{Running, command, repository, run};

const FOLDERS: [&str; 2] = ["examples/quickstart", "examples/python-readme"];

#[test]
fn every_example_passes_check() {
    for folder in FOLDERS {
        let check = run(&["check", folder]);
        assert_eq!(check.code, 0, "{folder}: {}{}", check.out, check.err);
    }
}

/// Names of all routes, from `match`-independent text: the banner's first column is the same.
fn routes(folder: &str) -> BTreeSet<String> {
    let documents = routemq_crds::document::Documents::load(&[repository().join(folder)]).unwrap();
    let routes = documents.routes.iter().flat_map(|it| &it.object.spec.routes);
    routes.map(|route| route.name.clone()).collect()
}

#[test]
fn dev_handles_every_route_of_every_example() {
    for folder in FOLDERS {
        let place = tempfile::tempdir().unwrap();
        let path = repository().join(folder);
        let arguments = ["dev", path.to_str().unwrap(), "--port", "0", "--simulate", "200/s"];
        let mut dev = Running::start(command(place.path(), &arguments));
        dev.wait_for("ready");
        for route in routes(folder) {
            let column = format!("  {route} ");
            dev.wait_until(&route, |line| line.contains(&column) && line.contains("  done  "));
        }
        dev.interrupt();
        let (code, text) = dev.end();
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("finished"), "{text}");
        // The one warning that an example asks for itself.
        let others = || text.lines().filter(|line| !line.contains("unusual temperature"));
        for bad in ["discarded", "panicked", "WARN", "ERROR"] {
            assert_eq!(others().find(|line| line.contains(bad)), None, "{folder}:\n{text}");
        }
    }
}
