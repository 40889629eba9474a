//! Groups: who encloses whom, what prefix and middleware that gives.

use std::collections::HashMap;

use super::field::Problems;
use crate::{
    suggest::hint,
    v1alpha1::{Group, MqttRouteSpec},
};

/// Groups within each other.
const MAX_DEPTH: usize = 8;
const MAX_PREFIX: usize = 512;

/// The groups of a spec by name.
pub(super) struct Groups<'a> {
    spec: &'a MqttRouteSpec,
    by_name: HashMap<&'a str, usize>,
}

pub(super) fn resolve<'a>(spec: &'a MqttRouteSpec, problems: &mut Problems) -> Groups<'a> {
    let mut groups = Groups { spec, by_name: HashMap::new() };
    for (index, group) in spec.groups.iter().enumerate() {
        let path = format!("spec.groups[{index}]");
        problems.name(format_args!("{path}.name"), &group.name);
        if let Some(first) = groups.by_name.get(group.name.as_str()) {
            problems.add(
                format!("{path}.name"),
                format!("\"{}\" is the name of spec.groups[{first}] too; rename one", group.name),
            );
        } else {
            groups.by_name.insert(&group.name, index);
        }
        check_prefix(&path, group, problems);
    }
    for index in 0..spec.groups.len() {
        groups.check_parents(index, problems);
    }
    groups
}

fn check_prefix(path: &str, group: &Group, problems: &mut Problems) {
    let length = group.prefix.as_deref().unwrap_or_default().chars().count();
    if length > MAX_PREFIX {
        problems.add(
            format!("{path}.prefix"),
            format!("has {length} characters; at most {MAX_PREFIX} are allowed; shorten it"),
        );
    }
}

impl<'a> Groups<'a> {
    /// The group called `name` and its enclosing ones, outermost first; `None` where one is missing
    /// or they enclose each other (told of at the group).
    pub(super) fn chain(&self, name: &str) -> Option<Vec<usize>> {
        let mut chain = Vec::new();
        let mut next = Some(name);
        while let Some(name) = next {
            let index = *self.by_name.get(name)?;
            if chain.len() == MAX_DEPTH || chain.contains(&index) {
                return None;
            }
            chain.push(index);
            next = self.spec.groups[index].parent.as_deref();
        }
        chain.reverse();
        Some(chain)
    }

    pub(super) fn get(&self, index: usize) -> &'a Group {
        &self.spec.groups[index]
    }

    pub(super) fn hint(&self, unknown: &str) -> String {
        if self.spec.groups.is_empty() {
            return "; spec.groups is empty".to_owned();
        }
        hint(unknown, self.spec.groups.iter().map(|group| group.name.as_str()))
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn check_parents(&self, index: usize, problems: &mut Problems) {
        let group = &self.spec.groups[index];
        let Some(parent) = group.parent.as_deref() else { return };
        let path = format!("spec.groups[{index}].parent");
        let mut names = vec![group.name.as_str()];
        let mut next = Some(parent);
        while let Some(name) = next {
            if names.contains(&name) {
                // Told once, at the first group of the circle.
                let first = names.iter().filter_map(|name| self.by_name.get(name)).min();
                if name == group.name && first == Some(&index) {
                    names.push(name);
                    let circle = names.join(" → ");
                    problems.add(
                        path,
                        format!("the groups enclose each other ({circle}); take one parent away"),
                    );
                }
                return;
            }
            names.push(name);
            let Some(index) = self.by_name.get(name) else {
                if name == parent {
                    let hint = self.hint(parent);
                    problems.add(path, format!("there is no group \"{parent}\"{hint}"));
                }
                return;
            };
            next = self.spec.groups[*index].parent.as_deref();
        }
        if names.len() > MAX_DEPTH {
            let (name, depth) = (&group.name, names.len());
            let fix = "give some of them one prefix of two levels, such as a/b";
            let fault =
                format!("\"{name}\" is {depth} groups deep; at most {MAX_DEPTH} are allowed");
            problems.add(path, format!("{fault}; {fix}"));
        }
    }
}
