//! What each row promises: design.md, section 11.

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    /// What is promised.
    pub(crate) goal: f64,
    /// What is enough on a busy machine.
    pub(crate) floor: f64,
    /// Whether less is better.
    pub(crate) at_most: bool,
}

impl Bar {
    pub(crate) const fn at_least(goal: f64, floor: f64) -> Self {
        Self { goal, floor, at_most: false }
    }

    pub(crate) const fn at_most(goal: f64, floor: f64) -> Self {
        Self { goal, floor, at_most: true }
    }

    pub(crate) fn reaches_goal(&self, value: f64) -> bool {
        if self.at_most { value <= self.goal } else { value >= self.goal }
    }

    pub(crate) fn reaches_floor(&self, value: f64) -> bool {
        if self.at_most { value <= self.floor } else { value >= self.floor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_better_where_it_is_said() {
        assert!(Bar::at_least(0.25, 0.12).reaches_floor(0.13));
        assert!(!Bar::at_least(0.25, 0.12).reaches_goal(0.13));
        assert!(Bar::at_most(2.0, 6.0).reaches_floor(5.0));
        assert!(!Bar::at_most(2.0, 6.0).reaches_goal(5.0));
    }
}
