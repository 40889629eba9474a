use routemq_crds::{
    document::Documents,
    report::{Degraded, FilterReport},
};

use super::*;

const YAML: &str = r"
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: devices, namespace: fleet, generation: 3}
spec:
  routes:
    - {name: a, topic: 'a/{id}', qos: 1, handlers: [{log: {}}]}
    - {name: b, topic: 'b/{id}', qos: 2, handlers: [{log: {}}]}
";

/// Reason, status and message of a condition, with one worker that reports this.
fn told(kind: &str, report: WorkerReport) -> (String, String, String) {
    let documents = Documents::parse("x.yaml", YAML).unwrap();
    let table = documents.compile().unwrap().remove(0).object;
    let object = &documents.routes[0].object;
    let deployment = Deployment::default();
    let reports =
        [WorkerReport { generation: table.generation, revision: table.revision.clone(), ..report }];
    let observed = Observed { table: &table, deployment: &deployment, reports: &reports };
    let now = Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
    let status = running(object, &observed, &now);
    let condition = status.conditions.into_iter().find(|it| it.type_ == kind).unwrap();
    (condition.status, condition.reason, condition.message)
}

fn granted(a: u8, b: u8) -> WorkerReport {
    let filters = [("a/+", a), ("b/+", b)];
    let filters = filters.map(|(filter, code)| (filter.to_owned(), FilterReport { code }));
    WorkerReport { connected: true, filters: filters.into(), ..WorkerReport::default() }
}

#[test]
fn a_filter_granted_with_a_lower_qos_is_degraded_and_not_ready_and_named() {
    for (kind, status) in [("Subscribed", "False"), ("Degraded", "True"), ("Ready", "False")] {
        let told = told(kind, granted(1, 1));
        assert_eq!((told.0.as_str(), told.1.as_str()), (status, "QosLowered"), "{kind}");
        assert!(told.2.contains("QoS 1 instead of 2 for the filter \"b/+\""), "{}", told.2);
    }
}

#[test]
fn filters_granted_as_asked_are_as_promised() {
    assert_eq!(told("Subscribed", granted(1, 2)).1, "Granted");
    assert_eq!(told("Degraded", granted(1, 2)).1, "AsPromised");
}

#[test]
fn a_refusal_is_told_before_a_lower_qos() {
    assert_eq!(told("Subscribed", granted(0, 0x87)).1, "Refused");
}

#[test]
fn what_keeps_a_worker_from_its_broker_is_the_reason_that_it_is_not_ready() {
    for reason in ["TLSExpired", "BadCredentials", "NotAuthorized"] {
        let why = Degraded { reason: reason.to_owned(), message: "mend it".to_owned() };
        let report = WorkerReport { disconnected: Some(why), ..WorkerReport::default() };
        for kind in ["Subscribed", "Ready"] {
            let (status, told, message) = told(kind, report.clone());
            assert_eq!(
                (status.as_str(), told.as_str(), message.as_str()),
                ("False", reason, "mend it")
            );
        }
    }
}
