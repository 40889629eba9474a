use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapProjection, ConfigMapVolumeSource, Container, ContainerPort,
        DownwardAPIProjection, DownwardAPIVolumeFile, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PodSecurityContext,
        PodSpec, Probe, ProjectedVolumeSource, SeccompProfile, SecretVolumeSource, SecurityContext,
        ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use routemq_crds::{stop, v1alpha1::LogLevel};

use super::secrets::references;
use crate::{names, settings::Settings, validate::Validated};

/// Where the route table is mounted.
const TABLE: &str = "/etc/routemq/table";
/// Where each Secret is mounted, a folder each.
const SECRETS: &str = "/etc/routemq/secrets";
/// Where each ConfigMap is mounted, a folder each.
const CONFIG_MAPS: &str = "/etc/routemq/config-maps";
/// Where the token for the slots' Leases is, as client libraries expect it.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The worker's scratch space (the crash journal).
const SCRATCH: &str = "/var/lib/routemq";
/// Metrics and probes.
const PORT: i32 = 9090;

pub(super) fn pod(route: &Validated, settings: &Settings) -> PodSpec {
    let worker = route.object.spec.worker.clone().unwrap_or_default();
    PodSpec {
        service_account_name: Some(names::worker(&route.name)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace_seconds(route)),
        security_context: Some(pod_security()),
        node_selector: (!worker.node_selector.is_empty()).then_some(worker.node_selector),
        tolerations: (!worker.tolerations.is_empty()).then_some(worker.tolerations),
        image_pull_secrets: pull_secrets(settings),
        containers: vec![container(route, settings)],
        volumes: Some(volumes(route)),
        ..PodSpec::default()
    }
}

fn pull_secrets(settings: &Settings) -> Option<Vec<LocalObjectReference>> {
    let named = |name: &String| LocalObjectReference { name: name.clone() };
    let secrets: Vec<_> = settings.worker_pull_secrets.iter().map(named).collect();
    (!secrets.is_empty()).then_some(secrets)
}

/// Long enough for a handler that has just begun.
fn drain_seconds(route: &Validated) -> i64 {
    i64::try_from(route.table.delivery.timeout.as_secs()).unwrap_or(3600).saturating_add(5)
}

/// Long enough to finish what runs, flush the acknowledgements and release the slot: by the bounds that workers keep to.
fn grace_seconds(route: &Validated) -> i64 {
    let drain = Duration::from_secs(drain_seconds(route).unsigned_abs());
    i64::try_from(stop::longest(drain).as_secs()).unwrap_or(i64::MAX)
}

fn container(route: &Validated, settings: &Settings) -> Container {
    let worker = route.object.spec.worker.as_ref();
    let image = worker.and_then(|worker| worker.image.clone()).filter(|image| !image.is_empty());
    let resources = worker.and_then(|worker| worker.resources.clone());
    Container {
        name: "worker".to_owned(),
        image: Some(image.unwrap_or_else(|| settings.worker_image.clone())),
        args: Some(vec![
            "run".to_owned(),
            format!("{TABLE}/route.json"),
            "--secrets".to_owned(),
            SECRETS.to_owned(),
            "--config-maps".to_owned(),
            CONFIG_MAPS.to_owned(),
            "--listen".to_owned(),
            format!("0.0.0.0:{PORT}"),
            "--drain".to_owned(),
            drain_seconds(route).to_string(),
            "--slots".to_owned(),
            format!("{TABLE}/slots.json"),
        ]),
        env: Some(environment(route)),
        ports: Some(vec![ContainerPort {
            name: Some("http".to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources.unwrap_or_else(|| settings.worker_resources.clone())),
        // Every second, because a rollout waits for each worker in turn.
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 1)),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts(route)),
        ..Container::default()
    }
}

/// For a worker program of one's own that has glibc's allocator (`routemq` has jemalloc): it gives each thread a heap of its own, in which what
/// a table was made of is never used again. A message's memory comes from a thread's own cache, which this does not concern (mallopt(3)).
const ARENAS: &str = "2";

fn environment(route: &Validated) -> Vec<EnvVar> {
    let level = route.object.spec.worker.as_ref().and_then(|worker| worker.log_level);
    vec![
        plain("LOG_LEVEL", level_name(level.unwrap_or_default())),
        plain("LOG_FORMAT", "json"),
        field("ROUTEMQ_POD_NAME", "metadata.name"),
        field("ROUTEMQ_POD_UID", "metadata.uid"),
        field("ROUTEMQ_NAMESPACE", "metadata.namespace"),
        plain("ROUTEMQ_SCRATCH", SCRATCH),
        plain("MALLOC_ARENA_MAX", ARENAS),
    ]
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let field_ref =
        ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() };
    let value_from = EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(value_from) }
}

/// Asked for every `period` seconds; `failures` in a row count.
fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(65532),
        run_as_group: Some(65532),
        fs_group: Some(65532),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

// === Volumes ===

fn volumes(route: &Validated) -> Vec<Volume> {
    let broker = route.object.spec.broker.clone().unwrap_or_default();
    let references = references(&route.table, &broker);
    let mut volumes = vec![table_volume(route), token_volume(), scratch_volume()];
    volumes.extend(
        references.secrets.iter().enumerate().map(|(index, name)| secret_volume(index, name)),
    );
    volumes.extend(
        references
            .config_maps
            .iter()
            .enumerate()
            .map(|(index, name)| config_map_volume(index, name)),
    );
    volumes
}

fn mounts(route: &Validated) -> Vec<VolumeMount> {
    let broker = route.object.spec.broker.clone().unwrap_or_default();
    let references = references(&route.table, &broker);
    let mut mounts = vec![
        mount("table".to_owned(), TABLE.to_owned()),
        mount("token".to_owned(), TOKEN.to_owned()),
        VolumeMount { read_only: None, ..mount("scratch".to_owned(), SCRATCH.to_owned()) },
    ];
    let secrets = references.secrets.iter().enumerate();
    mounts.extend(
        secrets.map(|(index, name)| mount(format!("secret-{index}"), format!("{SECRETS}/{name}"))),
    );
    let maps = references.config_maps.iter().enumerate();
    mounts.extend(maps.map(|(index, name)| {
        mount(format!("config-map-{index}"), format!("{CONFIG_MAPS}/{name}"))
    }));
    mounts
}

fn mount(name: String, path: String) -> VolumeMount {
    VolumeMount { name, mount_path: path, read_only: Some(true), ..VolumeMount::default() }
}

fn table_volume(route: &Validated) -> Volume {
    let source = ConfigMapVolumeSource {
        name: names::worker(&route.name),
        default_mode: Some(0o444),
        ..ConfigMapVolumeSource::default()
    };
    Volume { name: "table".to_owned(), config_map: Some(source), ..Volume::default() }
}

fn scratch_volume() -> Volume {
    let source = EmptyDirVolumeSource {
        size_limit: Some(Quantity("16Mi".to_owned())),
        ..EmptyDirVolumeSource::default()
    };
    Volume { name: "scratch".to_owned(), empty_dir: Some(source), ..Volume::default() }
}

/// Optional: a worker waits for what is missing and reports it, where the kubelet would hold the pod back in silence.
fn secret_volume(index: usize, name: &str) -> Volume {
    let source = SecretVolumeSource {
        secret_name: Some(name.to_owned()),
        optional: Some(true),
        default_mode: Some(0o440),
        ..SecretVolumeSource::default()
    };
    Volume { name: format!("secret-{index}"), secret: Some(source), ..Volume::default() }
}

fn config_map_volume(index: usize, name: &str) -> Volume {
    let source = ConfigMapVolumeSource {
        name: name.to_owned(),
        optional: Some(true),
        default_mode: Some(0o444),
        ..ConfigMapVolumeSource::default()
    };
    Volume { name: format!("config-map-{index}"), config_map: Some(source), ..Volume::default() }
}

/// The token, the authority and the namespace where client libraries look for them; by hand, because the ServiceAccount mounts nothing.
fn token_volume() -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(3607),
        audience: None,
    };
    let authority = ConfigMapProjection {
        name: "kube-root-ca.crt".to_owned(),
        items: Some(vec![KeyToPath {
            key: "ca.crt".to_owned(),
            path: "ca.crt".to_owned(),
            mode: None,
        }]),
        optional: None,
    };
    let namespace = DownwardAPIProjection {
        items: Some(vec![DownwardAPIVolumeFile {
            path: "namespace".to_owned(),
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "metadata.namespace".to_owned(),
            }),
            ..DownwardAPIVolumeFile::default()
        }]),
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(authority), ..VolumeProjection::default() },
        VolumeProjection { downward_api: Some(namespace), ..VolumeProjection::default() },
    ];
    let source = ProjectedVolumeSource { default_mode: Some(0o444), sources: Some(sources) };
    Volume { name: "token".to_owned(), projected: Some(source), ..Volume::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{build::tests::route, settings::Settings};

    #[test]
    fn every_mount_has_its_volume_and_every_volume_its_mount() {
        let pod = super::pod(&route(), &Settings::default());
        let volumes: BTreeSet<_> =
            pod.volumes.unwrap().into_iter().map(|volume| volume.name).collect();
        let mounts: BTreeSet<_> = pod.containers[0]
            .volume_mounts
            .clone()
            .unwrap()
            .into_iter()
            .map(|mount| mount.name)
            .collect();
        assert_eq!(volumes, mounts);
    }

    #[test]
    fn a_secret_that_is_missing_does_not_hold_the_pod_back() {
        let pod = super::pod(&route(), &Settings::default());
        let secrets: Vec<_> =
            pod.volumes.unwrap().into_iter().filter_map(|volume| volume.secret).collect();
        assert_eq!(secrets.len(), 3, "login, database, keys");
        assert!(secrets.iter().all(|secret| secret.optional == Some(true)));
    }

    #[test]
    fn secrets_for_pulling_the_image_are_named_and_their_absence_changes_nothing() {
        let of = |secrets: &[&str]| {
            let worker_pull_secrets = secrets.iter().map(ToString::to_string).collect();
            super::pod(&route(), &Settings { worker_pull_secrets, ..Settings::default() })
        };
        assert_eq!(of(&["registry"]).image_pull_secrets.unwrap()[0].name, "registry");
        assert_eq!(of(&[]).image_pull_secrets, None);
    }

    #[test]
    fn the_grace_period_covers_the_handlers_timeout() {
        let grace =
            super::pod(&route(), &Settings::default()).termination_grace_period_seconds.unwrap();
        assert_eq!(grace, 35 + 17, "30 s for a handler, 5 s to begin, and all that follows");
    }
}
