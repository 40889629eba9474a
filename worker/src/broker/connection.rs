//! One client's connection: a task that reads packets, changes the state, and writes what is due.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    Error, QoS,
    v5::{
        ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode,
        LastWill, Packet, PingResp, PubAck, PubAckReason, PubComp, PubCompReason, PubRec,
        PubRecReason, PubRel, PubRelReason, Publish, SubAck, UnsubAck,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use super::{
    Shared,
    filter::is_topic,
    state::{End, Sent, State},
};

/// Of a packet that a client may send. Bytes.
const MAX_PACKET: u32 = 16 * 1024 * 1024;
/// Of CONNECT, and of a write that nobody reads.
const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts until the task is aborted; the connections end with it.
pub(super) async fn accept(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, shared.clone()));
            } else {
                // Out of file descriptors, most likely: the next second may be better.
                second.tick().await;
            },
            _ = second.tick() => shared.lock().expire(Instant::now()),
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A client that said who it is.
struct Client {
    stream: TcpStream,
    shared: Shared,
    input: BytesMut,
    output: BytesMut,
    name: String,
    connection: u64,
    wake: Arc<Notify>,
    keep_alive: Duration,
}

async fn serve(mut stream: TcpStream, shared: Shared) {
    // Answers are small and each one is waited for.
    let _ = stream.set_nodelay(true);
    let mut input = BytesMut::with_capacity(8 * 1024);
    let first = timeout(PATIENCE, read_connect(&mut stream, &mut input)).await;
    if let Ok(Some((connect, will))) = first {
        Client::join(stream, shared, input, &connect, will).run().await;
    }
}

/// Reads until the first packet is whole; `None` where it is no CONNECT of MQTT 5.
async fn read_connect(
    stream: &mut TcpStream,
    input: &mut BytesMut,
) -> Option<(Connect, Option<LastWill>)> {
    loop {
        match Packet::read(input, Some(MAX_PACKET)) {
            Ok(Packet::Connect(connect, will, _)) => return Some((connect, will)),
            Err(Error::InsufficientBytes(_)) => {}
            Err(Error::InvalidProtocolLevel(level)) => {
                tracing::warn!(
                    level,
                    "a client is refused: this broker speaks MQTT 5 only (mosquitto_pub and mosquitto_sub: -V 5)"
                );
                // CONNACK of MQTT 3.1.1 with "unacceptable protocol version".
                let _ = stream.write_all(&[0x20, 0x02, 0x00, 0x01]).await;
                return None;
            }
            _ => return None,
        }
        if stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

impl Client {
    fn join(
        stream: TcpStream,
        shared: Shared,
        input: BytesMut,
        connect: &Connect,
        will: Option<LastWill>,
    ) -> Self {
        let assigned =
            connect.client_id.is_empty().then(|| format!("dev-{:016x}", fastrand::u64(..)));
        let name = assigned.clone().unwrap_or_else(|| connect.client_id.clone());
        let mut output = BytesMut::new();
        let mut state = shared.lock();
        let joined = state.connect(&name, connect, will);
        let answer = Packet::ConnAck(ConnAck {
            session_present: joined.session_present,
            code: ConnectReturnCode::Success,
            properties: Some(connack_properties(assigned)),
        });
        append(&answer, &mut output);
        if let Some(session) = state.owned(&name, joined.connection) {
            session.resend(&mut output);
        }
        drop(state);
        let keep_alive = match connect.keep_alive {
            0 => Duration::from_secs(u64::from(u32::MAX)),
            seconds => Duration::from_secs(u64::from(seconds)) * 3 / 2,
        };
        let (connection, wake) = (joined.connection, joined.wake);
        Self { stream, shared, input, output, name, connection, wake, keep_alive }
    }

    async fn run(mut self) {
        let end = self.turns().await;
        self.shared.lock().disconnect(&self.name, self.connection, end);
    }

    /// Reads and writes until the connection ends.
    async fn turns(&mut self) -> End {
        let mut deadline = tokio::time::Instant::now() + self.keep_alive;
        loop {
            let sent = self.packets();
            if self.flush().await.is_err() {
                return End::Lost;
            }
            match sent {
                Break(end) => return end,
                Continue(Sent::More) => continue,
                Continue(_) => {}
            }
            tokio::select! {
                read = self.stream.read_buf(&mut self.input) => match read {
                    Ok(1..) => deadline = tokio::time::Instant::now() + self.keep_alive,
                    _ => return End::Lost,
                },
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(deadline) => {
                    self.close(DisconnectReasonCode::KeepAliveTimeout);
                    let _ = self.flush().await;
                    return End::Lost;
                }
            }
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        let written = timeout(PATIENCE, self.stream.write_all(&self.output)).await;
        self.output.clear();
        written?
    }

    /// Handles every whole packet that was read, then writes what waits for the client.
    fn packets(&mut self) -> ControlFlow<End, Sent> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        loop {
            if self.input.starts_with(&[0xE0, 0x00]) {
                // The codec takes a DISCONNECT without a reason for an error.
                return Break(End::Orderly { expiry: None });
            }
            match Packet::read(&mut self.input, Some(MAX_PACKET)) {
                Ok(packet) => self.packet(&mut state, packet)?,
                Err(Error::InsufficientBytes(_)) => break,
                Err(Error::PayloadSizeLimitExceeded { .. }) => {
                    return self.refuse(DisconnectReasonCode::PacketTooLarge);
                }
                Err(_) => return self.refuse(DisconnectReasonCode::MalformedPacket),
            }
        }
        match state.send(&self.name, self.connection, &mut self.output) {
            Sent::TakenOver => self.refuse(DisconnectReasonCode::SessionTakenOver),
            sent => Continue(sent),
        }
    }

    fn packet(&mut self, state: &mut State, packet: Packet) -> ControlFlow<End> {
        match packet {
            Packet::Publish(publish) => return self.publish(state, &publish),
            Packet::PubAck(ack) => self.acknowledged(state, ack.pkid),
            Packet::PubRec(rec) => self.received(state, &rec),
            Packet::PubRel(rel) => self.released(state, rel.pkid),
            Packet::PubComp(comp) => self.acknowledged(state, comp.pkid),
            Packet::Subscribe(subscribe) => {
                let return_codes = state.subscribe(&self.name, &subscribe);
                let ack = SubAck { pkid: subscribe.pkid, return_codes, properties: None };
                append(&Packet::SubAck(ack), &mut self.output);
            }
            Packet::Unsubscribe(unsubscribe) => {
                let reasons = state.unsubscribe(&self.name, &unsubscribe.filters);
                let ack = UnsubAck { pkid: unsubscribe.pkid, reasons, properties: None };
                append(&Packet::UnsubAck(ack), &mut self.output);
            }
            Packet::PingReq(_) => append(&Packet::PingResp(PingResp), &mut self.output),
            Packet::Disconnect(disconnect) => return Break(end_of(&disconnect)),
            _ => return self.refuse(DisconnectReasonCode::ProtocolError),
        }
        Continue(())
    }

    fn publish(&mut self, state: &mut State, publish: &Publish) -> ControlFlow<End> {
        if !std::str::from_utf8(&publish.topic).is_ok_and(is_topic) {
            return self.refuse(DisconnectReasonCode::TopicNameInvalid);
        }
        match publish.qos {
            QoS::AtMostOnce => {
                state.publish(&self.name, publish);
            }
            QoS::AtLeastOnce => {
                let reason = state.publish(&self.name, publish);
                let ack = PubAck { pkid: publish.pkid, reason, properties: None };
                append(&Packet::PubAck(ack), &mut self.output);
            }
            QoS::ExactlyOnce => self.publish_once(state, publish),
        }
        Continue(())
    }

    /// QoS 2: the packet id is kept until PUBREL, and a repeated PUBLISH is only answered (MQTT-4.3.3-10).
    fn publish_once(&mut self, state: &mut State, publish: &Publish) {
        let Some(session) = state.owned(&self.name, self.connection) else { return };
        let new = session.received.insert(publish.pkid);
        let taken = if new { state.publish(&self.name, publish) } else { PubAckReason::Success };
        let reason = match taken {
            PubAckReason::NoMatchingSubscribers => PubRecReason::NoMatchingSubscribers,
            PubAckReason::QuotaExceeded => PubRecReason::QuotaExceeded,
            _ => PubRecReason::Success,
        };
        if reason == PubRecReason::QuotaExceeded
            && let Some(session) = state.owned(&self.name, self.connection)
        {
            session.received.remove(&publish.pkid);
        }
        let rec = PubRec { pkid: publish.pkid, reason, properties: None };
        append(&Packet::PubRec(rec), &mut self.output);
    }

    fn acknowledged(&mut self, state: &mut State, id: u16) {
        if let Some(session) = state.owned(&self.name, self.connection) {
            session.acknowledged(id);
        }
    }

    fn received(&mut self, state: &mut State, rec: &PubRec) {
        let Some(session) = state.owned(&self.name, self.connection) else { return };
        let taken =
            matches!(rec.reason, PubRecReason::Success | PubRecReason::NoMatchingSubscribers);
        let known = if taken { session.release(rec.pkid) } else { session.acknowledged(rec.pkid) };
        if taken {
            let reason =
                if known { PubRelReason::Success } else { PubRelReason::PacketIdentifierNotFound };
            let rel = PubRel { pkid: rec.pkid, reason, properties: None };
            append(&Packet::PubRel(rel), &mut self.output);
        }
    }

    fn released(&mut self, state: &mut State, id: u16) {
        let Some(session) = state.owned(&self.name, self.connection) else { return };
        let reason = if session.received.remove(&id) {
            PubCompReason::Success
        } else {
            PubCompReason::PacketIdentifierNotFound
        };
        append(&Packet::PubComp(PubComp { pkid: id, reason, properties: None }), &mut self.output);
    }

    fn refuse<T>(&mut self, reason: DisconnectReasonCode) -> ControlFlow<End, T> {
        self.close(reason);
        Break(End::Lost)
    }

    fn close(&mut self, reason: DisconnectReasonCode) {
        append(&Packet::Disconnect(Disconnect::new(reason)), &mut self.output);
    }
}

fn end_of(disconnect: &Disconnect) -> End {
    if disconnect.reason_code == DisconnectReasonCode::DisconnectWithWillMessage {
        return End::Lost;
    }
    let properties = disconnect.properties.as_ref();
    End::Orderly { expiry: properties.and_then(|properties| properties.session_expiry_interval) }
}

fn append(packet: &Packet, output: &mut BytesMut) {
    // Our own small packets: there is no limit that they could break.
    let _ = packet.write(output, None);
}

fn connack_properties(assigned: Option<String>) -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: Some(MAX_PACKET),
        assigned_client_identifier: assigned,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}
