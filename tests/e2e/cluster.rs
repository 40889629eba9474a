//! The cluster of all tests: a node of our own or somebody else's, with broker, database and operator in it.

use std::{env, net::SocketAddr, path::PathBuf, sync::OnceLock};

use routemq_tests::{ControlPlane, folder, operator_binary, routemq_binary};

/// What a pod may take to come up, on a machine that builds at the same time.
const PATIENCE: &str = "--timeout=180s";

/// A cluster with everything that a route needs.
pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    pub(crate) images: Images,
    /// An address of a node, as this machine reaches it.
    node: String,
    /// Where the database listens on it.
    database_port: u16,
}

/// Names of images that the nodes have.
pub(crate) struct Images {
    pub(crate) worker: String,
    pub(crate) operator: String,
    /// The operator under another name.
    pub(crate) operator_next: String,
}

impl Cluster {
    /// The one of this process, made by whoever asks first.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (plane, images) = match env::var_os("ROUTEMQ_TEST_KUBECONFIG") {
            Some(kubeconfig) => (ControlPlane::existing(kubeconfig.into()), Images::named()),
            None => own_node(),
        };
        install_neighbours(&plane);
        install_chart(&plane, &images.worker, &images.operator);
        let node = address(&plane);
        let port = plane.kubectl(&[
            "--namespace",
            "fleet",
            "get",
            "service/mariadb-outside",
            "--output",
            "jsonpath={.spec.ports[0].nodePort}",
        ]);
        Self { plane, images, node, database_port: port.unwrap().parse().unwrap() }
    }

    /// The broker, from outside the cluster.
    pub(crate) fn broker(&self) -> SocketAddr {
        format!("{}:31883", self.node).parse().unwrap()
    }

    /// The database, from outside the cluster.
    pub(crate) fn database_url(&self) -> String {
        format!("mysql://routemq:change-me@{}:{}/fleet", self.node, self.database_port)
    }

    /// Puts the operator's and the workers' default images in place, and waits for the operator.
    pub(crate) fn upgrade(&self, operator: &str) {
        install_chart(&self.plane, &self.images.worker, operator);
    }

    pub(crate) fn scale_operator(&self, replicas: u32) {
        let replicas = format!("--replicas={replicas}");
        let operator = ["--namespace", "routemq"];
        for arguments in [
            ["scale", "deployment/routemq-operator", &replicas],
            ["rollout", "status", "deployment/routemq-operator"],
        ] {
            self.plane.kubectl(&[&operator[..], &arguments].concat()).unwrap();
        }
    }
}

impl Images {
    fn named() -> Self {
        let name = |variable: &str, default: &str| env::var(variable).unwrap_or(default.to_owned());
        Self {
            worker: name("ROUTEMQ_TEST_WORKER_IMAGE", "routemq:e2e"),
            operator: name("ROUTEMQ_TEST_OPERATOR_IMAGE", "routemq-operator:e2e"),
            operator_next: name("ROUTEMQ_TEST_OPERATOR_IMAGE_NEXT", "routemq-operator:e2e-next"),
        }
    }
}

/// A node with images of the programs that cargo built beside this test.
fn own_node() -> (ControlPlane, Images) {
    let plane = ControlPlane::with_node();
    assert_eq!(routemq_binary().parent(), operator_binary().parent());
    let programs = routemq_binary().parent().map(PathBuf::from).expect("a program is in a folder");
    plane.load_images_of(&programs);
    (plane, Images::named())
}

/// Broker and database, as the example has them; and a way to the database from outside.
fn install_neighbours(plane: &ControlPlane) {
    for file in ["broker.yaml", "database.yaml"] {
        let path = folder("examples/kind").join(file);
        plane.kubectl(&["apply", "--filename", &path.to_string_lossy()]).unwrap();
    }
    let outside = "{apiVersion: v1, kind: Service, metadata: {name: mariadb-outside}, \
                   spec: {type: NodePort, selector: {app: mariadb}, ports: [{port: 3306}]}}";
    plane.apply("fleet", outside).unwrap();
    for (namespace, deployment) in
        [("mqtt", "deployment/mosquitto"), ("fleet", "deployment/mariadb")]
    {
        plane
            .kubectl(&["--namespace", namespace, "rollout", "status", deployment, PATIENCE])
            .unwrap();
    }
}

fn install_chart(plane: &ControlPlane, worker: &str, operator: &str) {
    let image = |key: &str, name: &str| {
        let (repository, tag) = name.rsplit_once(':').expect("an image has a tag");
        format!("{key}.image.repository={repository},{key}.image.tag={tag}")
    };
    let values = [
        image("worker", worker),
        image("operator", operator),
        "broker.url=mqtt://mosquitto.mqtt.svc:1883".to_owned(),
    ];
    let chart = folder("charts/routemq");
    plane
        .helm(&[
            "upgrade",
            "--install",
            "routemq",
            &chart.to_string_lossy(),
            "--namespace",
            "routemq",
            "--create-namespace",
            "--wait",
            PATIENCE,
            "--set",
            &values.join(","),
        ])
        .unwrap_or_else(|error| {
            panic!(
                "helm upgrade --install:\n{error}\n{}",
                plane.kubectl(&["--namespace", "routemq", "describe", "pods"]).unwrap_or_default()
            )
        });
}

/// `ROUTEMQ_TEST_NODE_ADDRESS`, or what a node says of itself: with kind on Linux, and on a node of our own, this machine reaches it.
fn address(plane: &ControlPlane) -> String {
    let query = "jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";
    env::var("ROUTEMQ_TEST_NODE_ADDRESS")
        .unwrap_or_else(|_| plane.kubectl(&["get", "nodes", "--output", query]).unwrap())
}
