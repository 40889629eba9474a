//! What an object refers to and is not there. Kubernetes mounts it as optional: a worker waits for it.

use routemq_crds::{
    table::{Middleware, SchemaSource, Table},
    v1alpha1::KeyRef,
};

use super::Loaded;
use crate::secrets::{Kind, Secrets};

/// Something that a spec names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    kind: Kind,
    name: String,
    /// Any of them will do.
    keys: Vec<String>,
}

/// What is missing, in words that depend on nothing else: `Secret fleet-login`, `Secret rows (key "url")`. Sorted.
pub(super) fn missing(loaded: &Loaded) -> Vec<String> {
    let mut wanted = of(&loaded.table);
    wanted.sort();
    wanted.dedup();
    let mut missing: Vec<String> =
        wanted.iter().filter_map(|it| absent(it, &loaded.secrets)).collect();
    missing.dedup();
    missing
}

fn absent(reference: &Reference, secrets: &Secrets) -> Option<String> {
    let Reference { kind, name, keys } = reference;
    if !secrets.knows(*kind, name) {
        return Some(format!("{kind} {name}"));
    }
    let there = keys.iter().any(|key| secrets.has(*kind, name, key));
    let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    (!there).then(|| format!("{kind} {name} (key {})", keys.join(" or ")))
}

fn of(table: &Table) -> Vec<Reference> {
    let mut wanted = of_broker(table);
    let database = table.database.as_ref().filter(|_| super::database::is_used(table));
    wanted.extend(database.map(|at| key(Kind::Secret, at)));
    let steps = table.routes.iter().flat_map(|route| route.middleware.iter());
    wanted.extend(steps.filter_map(|step| match step {
        Middleware::ApiKey { keys, .. } => Some(key(Kind::Secret, keys)),
        Middleware::Validate(SchemaSource::ConfigMap(at)) => Some(key(Kind::ConfigMap, at)),
        _ => None,
    }));
    wanted
}

fn of_broker(table: &Table) -> Vec<Reference> {
    let broker = &table.broker;
    let mut wanted = Vec::new();
    if let Some(login) = &broker.credentials_secret_ref {
        wanted.push(secret(&login.name, &["username", "password"]));
    }
    let Some(tls) = &broker.tls else { return wanted };
    if let Some(authority) = &tls.ca_secret_ref {
        wanted.push(secret(&authority.name, &["ca.crt"]));
    }
    if let Some(client) = &tls.client_cert_secret_ref {
        wanted.extend(["tls.crt", "tls.key"].map(|key| secret(&client.name, &[key])));
    }
    wanted
}

fn secret(name: &str, keys: &[&str]) -> Reference {
    let keys = keys.iter().map(|&key| key.to_owned()).collect();
    Reference { kind: Kind::Secret, name: name.to_owned(), keys }
}

fn key(kind: Kind, at: &KeyRef) -> Reference {
    Reference { kind, name: at.name.clone(), keys: vec![at.key.clone()] }
}

#[cfg(test)]
mod tests {
    use routemq_crds::document::Documents;

    use super::*;

    const YAML: &str = r"
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: devices, namespace: fleet}
spec:
  broker:
    url: mqtts://broker
    credentialsSecretRef: {name: login}
    tls: {caSecretRef: {name: authority}, clientCertSecretRef: {name: gateway}}
  database: {urlSecretRef: {name: rows, key: url}}
  routes:
    - name: a
      topic: a
      middleware:
        - apiKey: {secretRef: {name: keys, key: device}, field: key}
        - validate: {configMapRef: {name: schemas, key: a.json}}
      handlers: [{sql: {table: t, columns: {topic: topic}}}]
    - name: b
      topic: b
      middleware: [{apiKey: {secretRef: {name: keys, key: other}, field: key}}]
      handlers: [{log: {}}]
";

    fn missing_with(secrets: Secrets) -> Vec<String> {
        let documents = Documents::parse("x.yaml", YAML).unwrap();
        let table = documents.compile().unwrap().remove(0).object;
        missing(&Loaded { written: (&documents.routes[0].object).into(), table, secrets })
    }

    #[test]
    fn each_missing_object_is_named_once_and_a_missing_key_with_its_object() {
        let nothing = missing_with(Secrets::default());
        let named =
            ["Secret authority", "Secret gateway", "Secret keys", "Secret login", "Secret rows"];
        assert_eq!(nothing[..5], named);
        assert_eq!(nothing[5..], ["ConfigMap schemas"]);
        let some = Secrets::default()
            .with_value("authority", "ca.crt", "x")
            .with_value("gateway", "tls.crt", "x")
            .with_value("keys", "device", "x")
            .with_value("login", "user", "x")
            .with_value("schemas", "a.json", "{}")
            .with_value("rows", "url", "x");
        let keys = [
            "Secret gateway (key \"tls.key\")",
            "Secret keys (key \"other\")",
            "Secret login (key \"username\" or \"password\")",
        ];
        assert_eq!(missing_with(some.clone()), keys);
        let all = some
            .with_value("gateway", "tls.key", "x")
            .with_value("keys", "other", "x")
            .with_value("login", "password", "x");
        assert_eq!(missing_with(all), Vec::<String>::new());
    }
}
