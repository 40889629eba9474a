use super::*;

const ALL: Offers = Offers { shared: true, wildcards: true, identifiers: true };

fn wish(filter: &str) -> Subscription {
    Subscription { filter: filter.into(), qos: QoS::AtLeastOnce, identifier: 1 }
}

fn wishes(filters: &[&str]) -> Vec<Subscription> {
    filters.iter().map(|filter| wish(filter)).collect()
}

/// From what was wanted so far.
fn want(state: &mut Subscriptions, wanted: Vec<Subscription>) {
    let before: Vec<_> = state.entries.values().filter_map(|entry| entry.wanted.clone()).collect();
    state.change(Difference::between(&before, &difference::sorted(wanted.into())));
}

/// Sends all requests, with identifiers from `first` on.
fn requests(state: &mut Subscriptions, first: u16) -> Vec<String> {
    let mut id = first;
    let mut sent = Vec::new();
    while let Some(request) = state.next_request(id) {
        id += 1;
        sent.push(match request {
            Request::Subscribe(wish) => format!("+{}", wish.filter),
            Request::Unsubscribe(filter) => format!("-{filter}"),
        });
    }
    sent
}

fn states(state: &mut Subscriptions) -> FilterStates {
    state.changed = Change::Urgent;
    state.take_changes(Instant::now()).unwrap()
}

fn granted(settled: bool) -> FilterState {
    FilterState::Granted { qos: QoS::AtLeastOnce, settled }
}

/// One filter `a`, granted and settled by barrier 1.
fn settled() -> Subscriptions {
    let mut state = Subscriptions::default();
    want(&mut state, wishes(&["a"]));
    state.connected(false, ALL);
    assert_eq!(requests(&mut state, 1), ["+a"]);
    assert!(state.suback(1, 1));
    state.cover(1);
    state.passed(1, true);
    state
}

#[test]
fn a_filter_is_pending_then_granted_then_settled() {
    let mut state = Subscriptions::default();
    want(&mut state, wishes(&["a"]));
    assert_eq!(states(&mut state)["a"], FilterState::Pending);
    assert_eq!(requests(&mut state, 1), [""; 0], "nothing is asked without a connection");
    state.connected(false, ALL);
    assert_eq!(requests(&mut state, 1), ["+a"]);
    assert!(!state.all_answered());
    state.suback(1, 1);
    assert_eq!(states(&mut state)["a"], granted(false));
    assert!(state.all_answered() && state.wants_barrier());
    state.cover(1);
    assert!(!state.wants_barrier());
    state.passed(1, true);
    assert_eq!(states(&mut state)["a"], granted(true));
}

#[test]
fn a_barrier_settles_only_what_was_granted_before_it_was_sent() {
    let mut state = settled();
    want(&mut state, wishes(&["a", "b"]));
    requests(&mut state, 2);
    state.cover(2);
    state.suback(2, 1);
    state.passed(2, true);
    assert_eq!(states(&mut state)["b"], granted(false));
    assert!(state.wants_barrier());
    state.cover(3);
    state.passed(3, true);
    assert_eq!(states(&mut state)["b"], granted(true));
}

#[test]
fn new_filters_are_asked_for_before_gone_ones_are_left() {
    let mut state = settled();
    want(&mut state, wishes(&["z"]));
    assert_eq!(requests(&mut state, 2), ["+z", "-a"]);
    assert_eq!(states(&mut state)["a"], FilterState::Leaving);
    state.unsuback(3);
    state.suback(2, 1);
    assert_eq!(states(&mut state)["a"], FilterState::Leaving, "until the barrier");
    state.cover(2);
    state.passed(2, true);
    assert!(states(&mut state).keys().eq([&Arc::from("z")]));
}

#[test]
fn running_out_of_patience_settles_nothing_but_lets_go() {
    let mut state = settled();
    want(&mut state, wishes(&["z"]));
    requests(&mut state, 2);
    state.suback(2, 1);
    state.unsuback(3);
    state.cover(2);
    state.passed(2, false);
    assert_eq!(states(&mut state), Arc::new(BTreeMap::from([("z".into(), granted(false))])));
}

#[test]
fn wanting_the_same_again_asks_for_nothing() {
    let mut state = settled();
    assert!(state.take_changes(Instant::now()).is_some());
    let settlements = state.settlements();
    want(&mut state, wishes(&["a"]));
    assert_eq!(requests(&mut state, 2), [""; 0]);
    assert_eq!(state.take_changes(Instant::now()), None, "and tells nothing");
    assert_eq!(state.settlements(), settlements);
    assert_eq!(states(&mut state)["a"], granted(true));
}

#[test]
fn a_changed_identifier_subscribes_anew() {
    let mut state = settled();
    want(&mut state, vec![Subscription { identifier: 2, ..wish("a") }]);
    assert_eq!(requests(&mut state, 2), ["+a"]);
    assert_eq!(states(&mut state)["a"], FilterState::Pending);
}

#[test]
fn a_filter_wanted_again_while_it_leaves_stays() {
    let mut state = settled();
    want(&mut state, Vec::new());
    assert_eq!(requests(&mut state, 2), ["-a"]);
    want(&mut state, wishes(&["a"]));
    assert_eq!(requests(&mut state, 3), ["+a"]);
    state.unsuback(2);
    state.cover(2);
    state.passed(2, true);
    assert_eq!(states(&mut state)["a"], FilterState::Pending);
    state.suback(3, 1);
    assert_eq!(states(&mut state)["a"], granted(false));
}

#[test]
fn every_connection_asks_again_and_a_lost_session_has_nothing_to_leave() {
    for (present, expected) in [(true, vec!["+b", "-a"]), (false, vec!["+b"])] {
        let mut state = settled();
        want(&mut state, wishes(&["b"]));
        state.disconnected();
        assert_eq!(states(&mut state)["b"], FilterState::Pending);
        state.connected(present, ALL);
        assert_eq!(requests(&mut state, 1), expected, "session present: {present}");
    }
}

#[test]
fn filters_wanted_and_given_up_before_the_connection_are_left_on_a_resumed_session() {
    let mut state = Subscriptions::default();
    want(&mut state, wishes(&["a", "b"]));
    want(&mut state, Vec::new());
    state.connected(true, ALL);
    assert_eq!(requests(&mut state, 1), ["-a", "-b"]);
}

#[test]
fn a_refusal_is_kept_with_its_words_until_the_next_connection() {
    let mut state = Subscriptions::default();
    want(&mut state, wishes(&["a"]));
    state.connected(false, ALL);
    requests(&mut state, 1);
    state.suback(1, 0x97);
    let refused = FilterState::Refused { code: 0x97, reason: "quota exceeded" };
    assert_eq!(states(&mut state)["a"], refused);
    assert!(!state.wants_barrier());
    state.disconnected();
    state.connected(true, ALL);
    assert_eq!(requests(&mut state, 1), ["+a"]);
}

#[test]
fn answers_that_nobody_asked_for_are_told_apart() {
    let mut state = settled();
    assert!(!state.suback(1, 1), "twice");
    assert!(!state.unsuback(9));
}

#[test]
fn filters_of_a_predecessor_are_left_but_for_those_that_are_wanted() {
    let mut state = Subscriptions::default();
    want(&mut state, wishes(&["a"]));
    let left = || vec!["a".to_owned(), "old".to_owned()];
    state.leave_behind(left());
    state.connected(true, ALL);
    assert_eq!(requests(&mut state, 1), ["+a", "-old"]);
    assert_eq!(states(&mut state)["old"], FilterState::Leaving);
    state.suback(1, 1);
    state.unsuback(2);
    state.cover(1);
    state.passed(1, true);
    assert_eq!(states(&mut state), Arc::new([("a".into(), granted(true))].into()));
    state.leave_behind(left());
    assert_eq!(requests(&mut state, 3), ["-old"], "on a connection it is asked for at once");
    state.disconnected();
    state.connected(false, ALL);
    assert_eq!(requests(&mut state, 4), ["+a"], "a lost session holds nothing");
}

#[test]
fn more_filters_than_identifiers_are_asked_for_a_thousand_at_a_time() {
    let filters: Vec<String> = (0..70_000).map(|i| format!("f/{i}")).collect();
    let mut state = Subscriptions::default();
    want(&mut state, filters.iter().map(|filter| wish(filter)).collect());
    state.connected(false, ALL);
    let mut asked = 0;
    while !state.all_answered() {
        let sent = requests(&mut state, 1);
        assert!((1..=MOST_ASKED).contains(&sent.len()), "{}", sent.len());
        asked += sent.len();
        for id in (1..).take(sent.len()) {
            assert!(state.suback(id, 1));
        }
    }
    assert_eq!(asked, filters.len());
    assert!(state.wants_barrier());
    state.cover(1);
    assert!(!state.wants_barrier());
}

#[test]
fn answers_are_told_together_and_the_last_at_once() {
    let mut state = Subscriptions::default();
    want(&mut state, wishes(&["a", "b", "c"]));
    state.connected(false, ALL);
    assert_eq!(requests(&mut state, 1).len(), 3);
    let began = Instant::now();
    assert!(state.take_changes(began).is_some(), "a connection is told at once");
    state.suback(1, 1);
    assert_eq!(state.take_changes(began), None);
    let due = state.telling().unwrap();
    assert!(due > began);
    assert!(state.take_changes(due).is_some());
    state.suback(2, 1);
    assert_eq!(state.take_changes(due), None);
    state.suback(3, 1);
    let told = state.take_changes(due).unwrap();
    assert!(told.values().all(|state| *state == granted(false)));
    assert_eq!(state.telling(), None, "there is nothing left to tell");
}
