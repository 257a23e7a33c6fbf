//! Host and port as one text.

/// `host:port`, with brackets around an IPv6 address.
pub fn join(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(join("::1", 9092), "[::1]:9092");
        assert_eq!(join("127.0.0.1", 9092), "127.0.0.1:9092");
        assert_eq!(join("kafka.example", 1), "kafka.example:1");
    }
}
