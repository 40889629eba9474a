//! Which share each object's workers join.

use std::collections::BTreeMap;

use routemq_crds::table::Table;

use super::{Loaded, RunError, name_of};

/// `MQTT_GROUP_NAME` gives all specs without a name one share: where two of them have a filter in common, the broker
/// would deal its messages among both, and each would miss some.
pub(crate) fn distinct(loaded: &[Loaded], share: Option<&str>) -> Result<(), RunError> {
    let mut owners: BTreeMap<(&str, &str), &Table> = BTreeMap::new();
    for table in loaded.iter().map(|loaded| &loaded.table) {
        let named = table.share.as_deref().filter(|_| table.share_is_explicit);
        let Some(share) = table.share.as_ref().and(named.or(share)) else { continue };
        for filter in &table.filters {
            if let Some(other) = owners.insert((share, &filter.filter), table) {
                return Err(RunError::Share {
                    one: format!("{}/{}", other.namespace, other.name),
                    other: format!("{}/{}", table.namespace, table.name),
                    share: share.to_owned(),
                    filter: filter.filter.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Gives tables that name no share the process' one. Several such tables get one each, made from it: in one share
/// they would take each other's messages.
pub(super) fn share_out(mut loaded: Vec<Loaded>, share: Option<&str>) -> Vec<Loaded> {
    let Some(share) = share else { return loaded };
    let nameless = |table: &Table| table.share.is_some() && !table.share_is_explicit;
    let several = loaded.iter().filter(|it| nameless(&it.table)).count() > 1;
    for Loaded { table, .. } in loaded.iter_mut().filter(|it| nameless(&it.table)) {
        let own = if several { format!("{share}.{}", name_of(table)) } else { share.to_owned() };
        table.share = Some(own);
    }
    loaded
}
