use super::*;

const DESIGN: &str = r"
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: devices, namespace: fleet}
spec:
  broker: {url: 'mqtts://mosquitto.mqtt.svc:8883', credentialsSecretRef: {name: mqtt-login}}
  database: {urlSecretRef: {name: telemetry-db, key: url}}
  workerCount: 3
  groups:
    - {name: devices, prefix: devices, middleware: [{log: {}}]}
    - name: admin
      parent: devices
      prefix: admin
      middleware:
        - apiKey: {secretRef: {name: device-keys, key: keys}, field: api_key}
  routes:
    - name: control
      group: devices
      topic: control/{device_id}
      middleware: [{rateLimit: {limit: 100, perSeconds: 60, key: params.device_id}}]
      handlers:
        - when: payload.command in ['restart', 'shutdown']
          publish:
            topic: devices/control/{device_id}/response
            payload: '{''status'': ''accepted'', ''command'': payload.command}'
        - sql:
            table: device_commands
            columns: {device_id: params.device_id, command: payload.command, received_at: message.receivedAt}
    - {name: firmware, group: admin, topic: 'firmware/{device_id}/{version:int}', qos: 2, handlers: [{log: {}}]}
  delivery:
    orderBy: params.device_id
    deadLetter: {topic: 'dead/{route}'}
";

fn object(yaml: &str) -> MqttRoute {
    serde_yaml::from_str(yaml).expect("a typed object")
}

#[test]
fn the_design_s_example_compiles() {
    let table = compile(&object(DESIGN)).expect("no problem");
    assert_eq!(table.share.as_deref(), Some("fleet.devices"));
    let sources: Vec<&str> = table.routes.iter().map(|route| route.pattern.source()).collect();
    assert_eq!(
        sources,
        ["devices/control/{device_id}", "devices/admin/firmware/{device_id}/{version:int}"]
    );
    assert_eq!(table.routes[1].middleware.len(), 2);
    assert_eq!(table.routes[1].qos, 2);
}
