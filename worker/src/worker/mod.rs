//! One running worker: an MQTT session, the lanes that run its messages, and the engine that handles them.

pub(crate) mod lane;
pub(crate) mod overlap;
pub(crate) mod shard;
