//! The operator: turns each `MqttRoute` into one worker Deployment and what it needs.
