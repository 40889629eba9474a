//! The variables of the environment, as `routemq run` takes them up.

use std::sync::{Arc, Mutex};

use routemq_tests::{
    Client, ClientConfig, Database, Direction, Frame, Mosquitto, MosquittoConfig, Proxy, TABLE,
    Verdict, WorkerConfig, WorkerProcess, ensure, eventually, messages, readings,
};

use crate::bed::PATIENCE;

fn users() -> MosquittoConfig {
    let user = |name: &str| (name.to_owned(), "r:ght@1".to_owned());
    MosquittoConfig { users: vec![user("worker"), user("publisher")], ..MosquittoConfig::default() }
}

async fn publisher(broker: &Mosquitto) -> Client {
    let login = Some(("publisher".to_owned(), "r:ght@1".to_owned()));
    Client::connect(broker.address(), ClientConfig { login, ..ClientConfig::new("publisher") })
        .await
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn told(worker: &WorkerProcess, words: &str) {
    eventually("it is told", PATIENCE, async || {
        let output = worker.output();
        ensure(output.contains(words), || format!("no {words:?} in\n{output}"))
    })
    .await;
}

async fn logged(broker: &Mosquitto, words: &str) {
    eventually("the broker notes it", PATIENCE, async || {
        let log = broker.log();
        ensure(log.contains(words), || format!("no {words:?} in\n{log}"))
    })
    .await;
}

async fn a_row_comes(worker: &WorkerProcess, database: &Database, publisher: &mut Client) {
    told(worker, "subscribed").await;
    publisher.publish_all(messages(0..1), 1).await;
    eventually("the row is there", PATIENCE, async || {
        let rows = database.rows().count("SELECT COUNT(*) FROM readings").await;
        ensure(rows == 1, || worker.output())
    })
    .await;
}

/// What every SUBSCRIBE asked for, as text.
#[derive(Clone, Debug, Default)]
struct Subscribes(Arc<Mutex<String>>);

impl Subscribes {
    fn watch(&self) -> impl Fn(u64, Direction, &Frame) -> Verdict + Send + Sync + 'static {
        let seen = Arc::clone(&self.0);
        move |_, direction, frame| {
            if direction == Direction::ToBroker && frame.kind() == Frame::SUBSCRIBE {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(frame.bytes()));
            }
            Verdict::Pass
        }
    }
}

/// `mysql://user@host:port/name` in parts.
fn parts(url: &str) -> [(String, String); 5] {
    let rest = url.strip_prefix("mysql://").unwrap();
    let (login, place) = rest.rsplit_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, name) = place.split_once('/').unwrap();
    let (host, port) = host.split_once(':').unwrap();
    [("HOST", host), ("PORT", port), ("NAME", name), ("USER", user), ("PASS", password)]
        .map(|(part, value)| (format!("DB_{part}"), value.to_owned()))
}

#[tokio::test]
async fn broker_login_share_client_id_and_database_come_from_their_variables_which_win_over_the_file()
 {
    let (broker, database) = (Mosquitto::start(users()).await, Database::mariadb().await);
    database.rows().execute(TABLE).await;
    let asked = Subscribes::default();
    let proxy = Proxy::tapped(broker.address(), asked.watch()).await;
    let port = proxy.address().port().to_string();
    let mut environment = variables(&[
        ("MQTT_PORT", port.as_str()),
        ("MQTT_USERNAME", "worker"),
        ("MQTT_PASSWORD", "r:ght@1"),
        ("ENABLE_MYSQL", "true"),
    ]);
    environment.extend(parts(&database.url()));
    let routes = readings("");
    let mut worker =
        WorkerProcess::run(&WorkerConfig { routes, environment, ..WorkerConfig::default() });
    // Only now, because the folder is the worker's own: it is read at the next start.
    worker.directory().write(
        ".env",
        "MQTT_BROKER=127.0.0.1\nMQTT_PORT=1\nMQTT_USERNAME=nobody\nMQTT_PASSWORD=wrong\n\
         MQTT_CLIENT_ID=fleet-7\nMQTT_GROUP_NAME=together\nDB_NAME=elsewhere\nENABLE_MYSQL=false\n",
    );
    worker.restart();
    a_row_comes(&worker, &database, &mut publisher(&broker).await).await;
    logged(&broker, "as fleet-7-bed.readings-0").await;
    logged(&broker, "u'worker'").await;
    let asked = asked.0.lock().unwrap().clone();
    assert!(asked.contains("$share/together/readings/+/+"), "{asked:?}");
    let status = worker.terminate(PATIENCE).await;
    assert!(status.success(), "{status}\n{}", worker.output());
}

#[tokio::test]
async fn a_login_in_the_brokers_url_is_used_and_a_wrong_one_is_told() {
    let (broker, database) = (Mosquitto::start(users()).await, Database::mariadb().await);
    database.rows().execute(TABLE).await;
    let with_password = |password: &str| WorkerConfig {
        routes: readings(""),
        broker: Some(format!("mqtt://worker:{password}@{}", broker.address())),
        database: Some(database.url()),
        ..WorkerConfig::default()
    };
    let refused = WorkerProcess::run(&with_password("guessed"));
    told(&refused, "not authorized").await;
    assert!(!refused.output().contains("guessed"), "a password in the log");
    drop(refused);
    let worker = WorkerProcess::run(&with_password("r:ght%401"));
    a_row_comes(&worker, &database, &mut publisher(&broker).await).await;
}

#[tokio::test]
async fn a_user_name_alone_is_a_login() {
    let acl = "topic write readings/#\nuser worker\ntopic readwrite #\n".to_owned();
    let broker = MosquittoConfig { acl: Some(acl), ..MosquittoConfig::default() };
    let (broker, database) = (Mosquitto::start(broker).await, Database::mariadb().await);
    database.rows().execute(TABLE).await;
    let worker = WorkerProcess::run(&WorkerConfig {
        routes: readings(""),
        broker: Some(broker.url()),
        database: Some(database.url()),
        environment: variables(&[("MQTT_USERNAME", "worker")]),
        ..WorkerConfig::default()
    });
    a_row_comes(&worker, &database, &mut broker.client("publisher").await).await;
}

#[tokio::test]
async fn without_mysql_and_without_a_url_a_route_with_rows_is_refused_in_a_line() {
    let mut worker = WorkerProcess::run(&WorkerConfig {
        routes: readings(""),
        broker: Some("127.0.0.1:1".to_owned()),
        environment: variables(&[("ENABLE_MYSQL", "false"), ("DB_HOST", "127.0.0.1")]),
        ..WorkerConfig::default()
    });
    let status = worker.process().exit(PATIENCE).await;
    let output = worker.output();
    assert_eq!(status.code(), Some(1), "{output}");
    let errors: Vec<_> = output.lines().filter(|line| line.contains("error:")).collect();
    assert!(errors.len() == 1 && errors[0].contains("DATABASE_URL"), "{output}");
}
