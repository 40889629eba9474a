/// The longest topic or filter, in bytes (MQTT 5, 1.5.4).
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// The first character of `text` that may not stand in a topic: NUL (MQTT-1.5.4-2), other control
/// characters and non-characters (1.5.4: brokers may close the connection on them, and do).
#[must_use]
pub fn forbidden_character(text: &str) -> Option<char> {
    text.chars().find(|&c| c.is_control() || is_non_character(c))
}

fn is_non_character(c: char) -> bool {
    let code = u32::from(c);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}
