use super::*;

#[test]
fn a_sentence_tells_the_causes_and_no_cause_twice() {
    let source = io::Error::from(io::ErrorKind::ConnectionRefused);
    let error = ConnectError::Transport(TransportError::Tcp { address: "a:1".to_owned(), source });
    let words = sentence(&error);
    assert!(words.starts_with("cannot reach a:1"), "{words}");
    assert_eq!(words.matches("refused").count(), 1, "{words}");
}

#[test]
fn without_properties_the_broker_offers_everything() {
    let accepted = Accepted::of(true, None);
    let all = Offers { shared: true, wildcards: true, identifiers: true };
    assert_eq!((accepted.offers, accepted.receive_maximum), (all, u16::MAX));
    assert_eq!((accepted.maximum_qos, accepted.retain), (2, true));
}
