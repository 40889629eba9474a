//! Against a real server on loopback, which answers by a script.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use routemq_crds::table::{self, Action, Handler};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use crate::{
    FinalOutcome, class,
    dispatch::Incoming,
    testing::{at, bed, handler},
};

/// What a request looked like.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: String,
    at: Instant,
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Response>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

struct Server {
    address: SocketAddr,
    script: Script,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Gives these answers, then 200s without a body.
    async fn start(answers: impl IntoIterator<Item = Response>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answers)
    }

    fn on(listener: TcpListener, answers: impl IntoIterator<Item = Response>) -> Self {
        let script = Script::default();
        script.answers.lock().unwrap().extend(answers);
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(script.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, script, task }
    }

    fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }

    fn http(&self, path: &str) -> table::Http {
        http(&format!("http://{}{path}", self.address))
    }
}

async fn answer(State(script): State<Script>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    script.asked.lock().unwrap().push(Asked {
        method: head.method,
        target: head.uri.to_string(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        at: Instant::now(),
    });
    let next = script.answers.lock().unwrap().pop_front();
    next.unwrap_or_else(|| StatusCode::OK.into_response())
}

fn http(url: &str) -> table::Http {
    table::Http {
        url: url.to_owned(),
        method: "POST".to_owned(),
        headers: Vec::new(),
        body: None,
        timeout: Duration::from_secs(5),
        cloud_events: false,
    }
}

fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}

fn call(http: table::Http) -> Handler {
    handler(Action::Http(Box::new(http)))
}

/// Its answer is `results.look`.
fn look(http: table::Http) -> Handler {
    Handler { result_name: Some("look".to_owned()), ..call(http) }
}

fn header<'a>(asked: &'a Asked, name: &str) -> &'a str {
    asked.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_payload_goes_as_it_is_to_the_address_with_its_params() {
    let server = Server::start([]).await;
    let spec = table::Http {
        headers: vec![("X-Device".to_owned(), at("params.id"))],
        ..server.http("/devices/{id}/états?all={rest}")
    };
    let (engine, _) = bed("d/{id}/{rest...}").handler(call(spec)).engine().await;
    let sent = Incoming::new("d/ä b/x/../y?z", r#"{"a": 1}"#);
    assert!(engine.dispatch(sent).await.is_done());
    let asked = &server.asked()[0];
    assert_eq!(asked.method, Method::POST);
    assert_eq!(asked.target, "/devices/%C3%A4%20b/%C3%A9tats?all=x%2F..%2Fy%3Fz");
    assert_eq!(asked.body, r#"{"a": 1}"#);
    assert_eq!(header(asked, "content-type"), "application/json");
    assert_eq!(asked.headers["x-device"].as_bytes(), "ä b".as_bytes());
}

#[tokio::test]
async fn method_and_body_are_the_specs_and_a_get_has_none_by_itself() {
    let server = Server::start([]).await;
    let put = table::Http {
        method: "PUT".to_owned(),
        body: Some(at("'value: ' + string(payload.value)")),
        ..server.http("/put")
    };
    let get = table::Http { method: "GET".to_owned(), ..server.http("/get") };
    let (engine, _) = bed("t").handler(call(put)).handler(call(get)).engine().await;
    assert!(engine.dispatch(("t", r#"{"value": 7}"#)).await.is_done());
    let asked = server.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].body.as_str()), ("PUT", "value: 7"));
    assert_eq!(header(&asked[0], "content-type"), "text/plain; charset=utf-8");
    assert_eq!((asked[1].method.as_str(), asked[1].body.as_str()), ("GET", ""));
    assert_eq!(header(&asked[1], "content-type"), "");
}

#[tokio::test]
async fn a_status_says_whether_it_is_done_tried_again_or_given_up() {
    let given_up = Some(FinalOutcome::Discarded(class::HTTP));
    let rows: [(&str, &[u16], Option<FinalOutcome>, u32); 12] = [
        ("200", &[200], Some(FinalOutcome::Done), 1),
        ("204", &[204], Some(FinalOutcome::Done), 1),
        ("400", &[400], given_up, 1),
        ("401", &[401], given_up, 1),
        ("404", &[404], given_up, 1),
        ("302 is not followed", &[302], given_up, 1),
        ("408, then 200", &[408, 200], Some(FinalOutcome::Done), 2),
        ("425, then 200", &[425, 200], Some(FinalOutcome::Done), 2),
        ("429, then 201", &[429, 201], Some(FinalOutcome::Done), 2),
        ("500, 503, then 200", &[500, 503, 200], Some(FinalOutcome::Done), 3),
        ("503 for ever", &[503, 503, 503, 503], given_up, 3),
        ("503, then 404", &[503, 404], given_up, 2),
    ];
    for (name, statuses, outcome, calls) in rows {
        let server = Server::start(statuses.iter().map(|code| status(*code))).await;
        let (engine, _) = bed("t").handler(call(server.http("/"))).engine().await;
        let report = engine.dispatch(("t", "x")).await;
        assert_eq!(report.outcome, outcome, "{name}");
        assert_eq!(server.asked().len(), calls as usize, "{name}");
    }
}

#[tokio::test]
async fn a_service_that_asks_for_a_pause_gets_it() {
    let busy = (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response();
    let server = Server::start([busy]).await;
    let (engine, _) = bed("t").handler(call(server.http("/"))).engine().await;
    assert!(engine.dispatch(("t", "")).await.is_done());
    let asked = server.asked();
    let pause = asked[1].at - asked[0].at;
    assert!(pause >= Duration::from_secs(1), "{pause:?}");
}

#[tokio::test]
async fn later_handlers_see_status_headers_and_decoded_body() {
    let json = (
        StatusCode::CREATED,
        [("x-kind", "a"), ("content-type", "application/json")],
        r#"{"id": 7}"#,
    );
    let server = Server::start([json.into_response()]).await;
    let answer = "{'s': results.look.status, 'k': results.look.headers['x-kind'], 'id': results.look.body.id}";
    let bed = bed("t").handler(look(server.http("/"))).publish("out", answer);
    let (engine, _) = bed.engine().await;
    let report = engine.dispatch(("t", "")).await;
    assert!(report.is_done(), "{report:?}");
    assert_eq!(report.published[0].payload, br#"{"id":7,"k":"a","s":201}"#[..]);
}

#[tokio::test]
async fn a_body_that_nobody_asks_for_may_be_as_large_as_it_likes_and_one_that_is_kept_may_not() {
    let large = || "x".repeat(2 << 20).into_response();
    let server = Server::start([large(), large()]).await;
    let (engine, _) = bed("t").handler(call(server.http("/"))).engine().await;
    assert!(engine.dispatch(("t", "")).await.is_done());
    let (engine, _) = bed("t").handler(look(server.http("/"))).engine().await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::HTTP)));
}

#[tokio::test]
async fn a_cloud_event_names_its_source_subject_and_time_and_keeps_its_id_when_it_is_sent_again() {
    let server = Server::start([status(503)]).await;
    let spec = table::Http { cloud_events: true, ..server.http("/events") };
    let (engine, _) = bed("d/{id}").handler(call(spec)).engine().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent = Incoming::new("d/ä 1", "{}").user_property("traceparent", parent);
    assert!(engine.dispatch(sent).await.is_done());
    let asked = server.asked();
    assert_eq!(header(&asked[0], "ce-specversion"), "1.0");
    assert_eq!(header(&asked[0], "ce-type"), "io.routemq.message");
    assert_eq!(header(&asked[0], "ce-subject"), "d/%C3%A4%201");
    assert!(header(&asked[0], "ce-source").ends_with("/route"), "{asked:?}");
    assert!(header(&asked[0], "ce-time").ends_with('Z'));
    assert_eq!(header(&asked[0], "traceparent"), parent);
    assert!(!header(&asked[0], "ce-id").is_empty());
    assert_eq!(header(&asked[0], "ce-id"), header(&asked[1], "ce-id"));
}

#[tokio::test]
async fn a_service_that_is_away_holds_its_messages_until_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let spec = http(&format!("http://{address}/"));
    let (engine, _) = bed("t").handler(call(spec)).engine().await;
    let work = tokio::spawn(async move { engine.dispatch(("t", "")).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!work.is_finished(), "given up");
    let server = Server::on(TcpListener::bind(address).await.unwrap(), []);
    assert!(work.await.unwrap().is_done());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_service_that_never_answers_is_an_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeout = Duration::from_millis(50);
    let spec =
        table::Http { timeout, ..http(&format!("http://{}/", listener.local_addr().unwrap())) };
    let (engine, _) = bed("t").handler(call(spec)).engine().await;
    let report = engine.dispatch(("t", "")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::TIMEOUT)));
    assert_eq!(report.attempts, 3);
}

#[tokio::test]
async fn a_param_of_dots_and_a_header_with_a_line_break_are_refused() {
    let server = Server::start([]).await;
    let (engine, _) = bed("d/{id}").handler(call(server.http("/a/{id}/b"))).engine().await;
    for topic in ["d/.", "d/.."] {
        let report = engine.dispatch((topic, "")).await;
        assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::TEMPLATE)), "{topic}");
    }
    let headers = vec![("X-Text".to_owned(), at("payload"))];
    let spec = table::Http { headers, ..server.http("/") };
    let (engine, _) = bed("t").handler(call(spec)).engine().await;
    let report = engine.dispatch(("t", "a\r\nX-Admin: yes")).await;
    assert_eq!(report.outcome, Some(FinalOutcome::Discarded(class::EXPRESSION)));
    assert!(server.asked().is_empty());
}
