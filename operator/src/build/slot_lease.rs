use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use super::metadata;
use crate::{names, validate::Validated};

/// The Lease of one slot, unheld. Created once; afterwards its spec is the workers'.
#[must_use]
pub fn slot_lease(route: &Validated, index: u32) -> Lease {
    Lease {
        metadata: metadata(route, names::slot(&route.name, index)),
        spec: Some(LeaseSpec { lease_duration_seconds: Some(30), ..LeaseSpec::default() }),
    }
}
