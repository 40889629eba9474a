-- The models SensorReading and DeviceStatus, for MySQL, MariaDB and PostgreSQL. `routemq dev` makes its tables itself.
CREATE TABLE IF NOT EXISTS sensor_readings (
  sensor_id   VARCHAR(50)      NOT NULL,
  sensor_type VARCHAR(20)      NOT NULL,
  value       DOUBLE PRECISION NOT NULL,
  unit        VARCHAR(10),
  received_at TIMESTAMP(6)     NOT NULL
);

CREATE TABLE IF NOT EXISTS device_status (
  device_id   VARCHAR(50)      NOT NULL,
  status      VARCHAR(20)      NOT NULL,
  timestamp   DOUBLE PRECISION NOT NULL,
  received_at TIMESTAMP(6)     NOT NULL
);
