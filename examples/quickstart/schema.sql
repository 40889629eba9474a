-- For `routemq run` against MySQL, MariaDB or PostgreSQL. `routemq dev` makes its tables itself.
CREATE TABLE IF NOT EXISTS device_commands (
  device_id   VARCHAR(50)  NOT NULL,
  command     VARCHAR(20)  NOT NULL,
  received_at TIMESTAMP(6) NOT NULL
);

CREATE TABLE IF NOT EXISTS telemetry (
  device_id   VARCHAR(50)      NOT NULL,
  temperature DOUBLE PRECISION NOT NULL,
  received_at TIMESTAMP(6)     NOT NULL
);
