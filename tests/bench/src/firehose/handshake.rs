//! What a broker answers before and beside the messages: CONNACK, SUBACK, UNSUBACK, PINGRESP, and the barrier, which
//! a session sends to itself.

use crate::frames::{Packet, put_packet, put_text, variable};

const RECEIVE_MAXIMUM: u8 = 0x21;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;

/// The Receive Maximum of a CONNECT; 65,535 where it says none.
pub(super) fn receive_maximum(connect: &Packet<'_>) -> u16 {
    let found = || {
        // "MQTT", version, flags, keep-alive: ten bytes.
        let (length, at) = variable(connect.body, 10)?;
        let properties = connect.body.get(at..at + length)?;
        find(properties, RECEIVE_MAXIMUM)
    };
    found().map_or(u16::MAX, |at| connect.number(at))
}

/// Where the value of a property stands in the whole CONNECT; the ones before it have four bytes (session expiry) or
/// five (maximum packet size).
fn find(properties: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(&identifier) = properties.get(at) {
        if identifier == wanted {
            return Some(at + 1 + 11);
        }
        at += match identifier {
            0x11 | 0x27 => 5,
            0x21 | 0x22 => 3,
            0x17 | 0x19 => 2,
            _ => return None,
        };
    }
    None
}

/// What a SUBSCRIBE to one filter asks for: the filter without its share, and its identifier (0: none).
pub(super) fn subscription(subscribe: &Packet<'_>) -> Option<(String, u32, u8)> {
    let (length, at) = variable(subscribe.body, 2)?;
    let properties = subscribe.body.get(at..at + length)?;
    let identifier = match properties.first() {
        Some(&SUBSCRIPTION_IDENTIFIER) => variable(properties, 1)?.0,
        _ => 0,
    };
    let filter = at + length;
    let end = filter + 2 + usize::from(subscribe.number(filter));
    let text = std::str::from_utf8(subscribe.body.get(filter + 2..end)?).ok()?;
    let qos = subscribe.body.get(end)? & 0b11;
    Some((without_share(text).to_owned(), u32::try_from(identifier).unwrap_or(0), qos))
}

fn without_share(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    shared.map_or(filter, |(_, filter)| filter)
}

/// CONNACK, the session not present.
pub(super) fn connack(out: &mut Vec<u8>) {
    put_packet(0x20, &[0, 0, 0], out);
}

/// SUBACK or UNSUBACK with one code.
pub(super) fn answer(first: u8, request: &Packet<'_>, code: u8, out: &mut Vec<u8>) {
    let [high, low] = request.number(0).to_be_bytes();
    put_packet(first, &[high, low, 0, code], out);
}

/// PUBACK where one is due, and (to a session, which publishes only to itself) the message at QoS 0.
pub(super) fn confirm(publish: &Packet<'_>, echo: bool, out: &mut Vec<u8>) {
    let topic = 2 + usize::from(publish.number(0));
    let id = if publish.first & 0b110 == 0 { 0 } else { 2 };
    if id > 0 {
        let [high, low] = publish.number(topic).to_be_bytes();
        put_packet(0x40, &[high, low], out);
    }
    if echo {
        let mut body = Vec::new();
        put_text(publish.body.get(2..topic).unwrap_or_default(), &mut body);
        body.extend_from_slice(publish.body.get(topic + id..).unwrap_or_default());
        put_packet(0x30, &body, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{connect, packet, subscribe};

    #[test]
    fn the_receive_maximum_is_found_behind_other_properties() {
        let bare = connect("bench", 1234);
        assert_eq!(receive_maximum(&packet(&bare, 0).unwrap()), 1234);
        let mut body = bare[2..12].to_vec();
        body.extend([13, 0x11, 0, 0, 1, 0, 0x27, 0, 1, 0, 0, 0x21, 0, 7, 0, 0]);
        let mut rich = Vec::new();
        put_packet(0x10, &body, &mut rich);
        assert_eq!(receive_maximum(&packet(&rich, 0).unwrap()), 7);
    }

    #[test]
    fn a_subscription_loses_its_share() {
        let bytes = subscribe("$share/fleet.devices/site/7/+", 1);
        let asked = subscription(&packet(&bytes, 0).unwrap());
        assert_eq!(asked, Some(("site/7/+".to_owned(), 0, 1)));
    }
}
