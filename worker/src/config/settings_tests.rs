//! The table of variables: what is written, what comes out.

use super::*;
use crate::config::LogFormat;

fn settings(pairs: &[(&str, &str)]) -> Result<Settings, Vec<BadSetting>> {
    Settings::read(&Environment::from_pairs(pairs.iter().copied()))
}

#[test]
fn an_empty_environment_gives_the_defaults_of_the_python_framework() {
    let settings = settings(&[]).unwrap();
    assert_eq!(settings.broker.as_str(), "mqtt://localhost");
    assert_eq!(settings.client_id, "mqtt-framework-main");
    assert_eq!(settings.share, None);
    assert!(matches!(settings.credentials, Credentials::None));
    let database = settings.database.unwrap();
    assert_eq!(database.url, "mysql://root@localhost:3306/mqtt_framework");
    assert!(!database.is_explicit);
    assert_eq!(settings.log.level(), tracing::Level::INFO);
    assert!(matches!(settings.log.format(), LogFormat::Pattern(_)));
}

#[test]
fn a_broker_is_a_host_a_host_with_port_or_a_url() {
    let rows: &[(&str, &str, &str, &str)] = &[
        ("a host", "broker.example", "", "mqtt://broker.example"),
        ("a host and MQTT_PORT", "broker.example", "8000", "mqtt://broker.example:8000"),
        ("a host with its port", "broker.example:2883", "", "mqtt://broker.example:2883"),
        ("the URL's port wins", "mqtt://broker.example:2883", "8000", "mqtt://broker.example:2883"),
        ("TLS", "mqtts://broker.example", "8884", "mqtts://broker.example:8884"),
        ("WebSocket with a path", "wss://broker.example/mqtt", "", "wss://broker.example/mqtt"),
        ("an IPv4 address", "127.0.0.1", "1884", "mqtt://127.0.0.1:1884"),
        ("an IPv6 address", "[::1]", "1884", "mqtt://[::1]:1884"),
    ];
    for (case, broker, port, want) in rows {
        let got = settings(&[("MQTT_BROKER", broker), ("MQTT_PORT", port)]).unwrap();
        assert_eq!(got.broker.as_str(), *want, "{case}");
    }
}

#[test]
fn a_login_in_the_brokers_url_is_used_and_not_shown() {
    let settings =
        settings(&[("MQTT_BROKER", "mqtt://me:p%40ss@broker:1884"), ("MQTT_USERNAME", "another")])
            .unwrap();
    let Credentials::Static(login) = settings.credentials else { panic!("no login") };
    assert_eq!(login.username.as_deref(), Some("me"));
    assert_eq!(login.password.as_deref(), Some("p@ss"));
    assert_eq!(settings.broker.as_str(), "mqtt://broker:1884");
}

#[test]
fn a_bad_url_is_told_without_its_password() {
    let bad = settings(&[("MQTT_BROKER", "http://me:s3cret@broker")]).unwrap_err();
    let said = bad[0].to_string();
    assert!(!said.contains("s3cret") && said.contains("broker"), "{said}");
}

#[test]
fn a_database_is_a_url_or_parts_or_none() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let rows: &[Row<'_>] = &[
        ("a URL", &[("DATABASE_URL", "postgres://a:b@h/d")], Some("postgres://a:b@h/d")),
        (
            "the URL wins",
            &[("DATABASE_URL", "sqlite://x.db"), ("DB_HOST", "h")],
            Some("sqlite://x.db"),
        ),
        (
            "a URL without MySQL",
            &[("DATABASE_URL", "sqlite://x.db"), ("ENABLE_MYSQL", "false")],
            Some("sqlite://x.db"),
        ),
        (
            "parts",
            &[
                ("DB_HOST", "h"),
                ("DB_PORT", "3307"),
                ("DB_NAME", "d"),
                ("DB_USER", "u"),
                ("DB_PASS", "p"),
            ],
            Some("mysql://u:p@h:3307/d"),
        ),
        (
            "a password with signs",
            &[("DB_PASS", "p@ss/w#rd")],
            Some("mysql://root:p%40ss%2Fw%23rd@localhost:3306/mqtt_framework"),
        ),
        ("switched off", &[("ENABLE_MYSQL", "false")], None),
        ("switched off in capitals", &[("ENABLE_MYSQL", "False"), ("DB_HOST", "h")], None),
    ];
    for (case, pairs, want) in rows {
        let got = settings(pairs).unwrap().database.map(|database| database.url);
        assert_eq!(got.as_deref(), *want, "{case}");
    }
}

#[test]
fn every_level_name_of_python_is_known() {
    let rows = [
        ("NOTSET", "TRACE"),
        ("debug", "DEBUG"),
        ("Info", "INFO"),
        ("WARNING", "WARN"),
        ("warn", "WARN"),
        ("ERROR", "ERROR"),
        ("CRITICAL", "ERROR"),
        ("FATAL", "ERROR"),
    ];
    for (written, want) in rows {
        let got = settings(&[("LOG_LEVEL", written)]).unwrap().log.level();
        assert_eq!(got.as_str(), want, "{written}");
    }
}

#[test]
fn a_bad_value_names_variable_value_and_fix() {
    let rows = [
        ("MQTT_BROKER", "http://x", "mqtts://"),
        ("MQTT_BROKER", "mqtt://", "write a host"),
        ("MQTT_PORT", "abc", "1 to 65535"),
        ("MQTT_PORT", "0", "1 to 65535"),
        ("MQTT_PORT", "70000", "1 to 65535"),
        ("MQTT_GROUP_NAME", "a/b", "no '/'"),
        ("MQTT_CLIENT_ID", "a#b", "no '/'"),
        ("ENABLE_MYSQL", "maybe", "true or false"),
        ("DB_PORT", "x", "1 to 65535"),
        ("LOG_LEVEL", "LOUD", "WARNING"),
        ("LOG_FORMAT", "%(hostname)s", "asctime"),
        ("LOG_FORMAT", "plain", "text, json"),
    ];
    for (variable, value, fix) in rows {
        let bad = settings(&[(variable, value)]).unwrap_err();
        assert_eq!(bad.len(), 1, "{variable}={value}");
        let text = bad[0].to_string();
        assert!(text.contains(variable) && text.contains(value) && text.contains(fix), "{text}");
    }
}

#[test]
fn a_bad_database_url_does_not_repeat_its_password() {
    let bad = settings(&[("DATABASE_URL", "oracle://me:s3cret@h/d")]).unwrap_err();
    let text = bad[0].to_string();
    assert!(text.contains("oracle") && text.contains("sqlite://"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn all_bad_values_are_told_at_once() {
    let bad = settings(&[("MQTT_PORT", "x"), ("LOG_LEVEL", "LOUD"), ("DB_PORT", "y")]).unwrap_err();
    let names: Vec<_> = bad.iter().map(|bad| bad.variable).collect();
    assert_eq!(names, ["MQTT_PORT", "DB_PORT", "LOG_LEVEL"]);
}

#[test]
fn passwords_do_not_show_in_debug_text() {
    let settings =
        settings(&[("MQTT_PASSWORD", "s3cret"), ("DATABASE_URL", "mysql://u:s3cret@h/d")]).unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));
}
