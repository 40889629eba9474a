//! Reason codes in words (MQTT 5, 2.4).

/// What a reason code says, in words. The same number means the same in every packet.
pub(crate) fn words(code: u8) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == code).map_or("unknown reason", |(_, words)| words)
}

/// No matching subscribers: the publish is accepted, and nobody gets it.
pub(crate) const NO_SUBSCRIBERS: u8 = 0x10;
/// From here on a reason code is a refusal.
pub(crate) const FIRST_REFUSAL: u8 = 0x80;
/// The packet doesn't follow the format.
pub(crate) const MALFORMED_PACKET: u8 = 0x81;
/// The packet is well formed and has no business here.
pub(crate) const PROTOCOL_ERROR: u8 = 0x82;
/// A login that the broker doesn't accept.
pub(crate) const BAD_LOGIN: u8 = 0x86;
/// Refused by the broker's access rules.
pub(crate) const NOT_AUTHORIZED: u8 = 0x87;
/// Another connection uses the client identifier.
pub(crate) const SESSION_TAKEN_OVER: u8 = 0x8E;
/// A topic that cannot be published to.
pub(crate) const TOPIC_NAME_INVALID: u8 = 0x90;
/// A packet id that the receiver doesn't know.
pub(crate) const PACKET_ID_NOT_FOUND: u8 = 0x92;
/// More unacknowledged messages than announced.
pub(crate) const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
/// A topic alias beyond the announced maximum.
pub(crate) const TOPIC_ALIAS_INVALID: u8 = 0x94;
/// Larger than the announced maximum.
pub(crate) const PACKET_TOO_LARGE: u8 = 0x95;
/// The broker keeps no retained messages.
pub(crate) const RETAIN_NOT_SUPPORTED: u8 = 0x9A;
/// The broker doesn't offer this quality of service.
pub(crate) const QOS_NOT_SUPPORTED: u8 = 0x9B;
/// The broker has no `$share/`.
pub(crate) const SHARED_NOT_SUPPORTED: u8 = 0x9E;
/// The broker has no `+` and `#`.
pub(crate) const WILDCARDS_NOT_SUPPORTED: u8 = 0xA2;

const NAMES: [(u8, &str); 46] = [
    (0x00, "success"),
    (0x01, "granted QoS 1"),
    (0x02, "granted QoS 2"),
    (0x04, "disconnect with will message"),
    (NO_SUBSCRIBERS, "no matching subscribers"),
    (0x11, "no subscription existed"),
    (0x18, "continue authentication"),
    (0x19, "re-authenticate"),
    (0x80, "unspecified error"),
    (MALFORMED_PACKET, "malformed packet"),
    (PROTOCOL_ERROR, "protocol error"),
    (0x83, "implementation specific error"),
    (0x84, "unsupported protocol version"),
    (0x85, "client identifier not valid"),
    (BAD_LOGIN, "bad user name or password"),
    (NOT_AUTHORIZED, "not authorized"),
    (0x88, "server unavailable"),
    (0x89, "server busy"),
    (0x8A, "banned"),
    (0x8B, "server shutting down"),
    (0x8C, "bad authentication method"),
    (0x8D, "keep alive timeout"),
    (SESSION_TAKEN_OVER, "session taken over"),
    (0x8F, "topic filter invalid"),
    (TOPIC_NAME_INVALID, "topic name invalid"),
    (0x91, "packet identifier in use"),
    (PACKET_ID_NOT_FOUND, "packet identifier not found"),
    (RECEIVE_MAXIMUM_EXCEEDED, "receive maximum exceeded"),
    (TOPIC_ALIAS_INVALID, "topic alias invalid"),
    (PACKET_TOO_LARGE, "packet too large"),
    (0x96, "message rate too high"),
    (0x97, "quota exceeded"),
    (0x98, "administrative action"),
    (0x99, "payload format invalid"),
    (RETAIN_NOT_SUPPORTED, "retain not supported"),
    (QOS_NOT_SUPPORTED, "QoS not supported"),
    (0x9C, "use another server"),
    (0x9D, "server moved"),
    (SHARED_NOT_SUPPORTED, "shared subscriptions not supported"),
    (0x9F, "connection rate exceeded"),
    (0xA0, "maximum connect time"),
    (0xA1, "subscription identifiers not supported"),
    (WILDCARDS_NOT_SUPPORTED, "wildcard subscriptions not supported"),
    // MQTT 3.1.1 return codes, which a broker of that version answers with.
    (0x03, "server unavailable (MQTT 3.1.1)"),
    (0x05, "not authorized (MQTT 3.1.1)"),
    (0xFF, "unknown reason"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_named_once() {
        for (i, (code, _)) in NAMES.iter().enumerate() {
            assert!(NAMES.iter().skip(i + 1).all(|(other, _)| other != code), "0x{code:02x}");
        }
    }

    #[test]
    fn an_unknown_code_has_words_too() {
        assert_eq!(words(0xFE), "unknown reason");
        assert_eq!(words(0x87), "not authorized");
    }
}
