use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

use super::metadata;
use crate::{names, validate::Validated};

pub(super) fn service_account(route: &Validated) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(route, names::worker(&route.name)),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Rights to the slots' Leases by name, and to nothing else: `list` and `watch` cannot be limited to names, so workers read by name.
pub(super) fn role(route: &Validated, slots: &[u32]) -> Role {
    let leases: Vec<_> = slots.iter().map(|index| names::slot(&route.name, *index)).collect();
    let rule = PolicyRule {
        api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
        resources: Some(vec!["leases".to_owned()]),
        resource_names: Some(leases),
        verbs: vec!["get".to_owned(), "update".to_owned()],
        ..PolicyRule::default()
    };
    // A rule without names would grant every Lease of the namespace.
    let rules = if slots.is_empty() { Vec::new() } else { vec![rule] };
    Role { metadata: metadata(route, names::worker(&route.name)), rules: Some(rules) }
}

pub(super) fn role_binding(route: &Validated) -> RoleBinding {
    let name = names::worker(&route.name);
    RoleBinding {
        metadata: metadata(route, name.clone()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name,
            namespace: Some(route.namespace.clone()),
            ..Subject::default()
        }]),
    }
}

#[cfg(test)]
mod tests {
    use crate::build::tests::route;

    #[test]
    fn without_slots_a_worker_has_no_right_at_all() {
        assert_eq!(super::role(&route(), &[]).rules, Some(vec![]));
    }

    #[test]
    fn a_worker_reaches_its_own_slots_by_name_and_cannot_list() {
        let rules = super::role(&route(), &[0, 2]).rules.unwrap();
        assert_eq!(
            rules[0].resource_names.as_deref().unwrap(),
            ["devices-slot-0", "devices-slot-2"]
        );
        assert_eq!(rules[0].verbs, ["get", "update"]);
    }
}
