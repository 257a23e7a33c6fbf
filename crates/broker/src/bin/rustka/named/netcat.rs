//! `nc -z HOST PORT`: whether something listens there. The one use of nc that health checks make.

use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

/// How long a connection may take unless `-w` says otherwise.
const WAIT: Duration = Duration::from_secs(5);
/// The longest wait that `-w` can ask for: a day.
const WAIT_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Exit code 0 if every port named accepts a connection, 1 if one does not or the arguments make no sense.
pub fn run(arguments: &[String]) -> ExitCode {
    let asked = match parse(arguments) {
        Ok(asked) => asked,
        Err(sentence) => {
            eprintln!("nc: {sentence}");
            return ExitCode::FAILURE;
        }
    };
    match connect(&asked) {
        Ok(()) => {
            if asked.is_verbose {
                eprintln!(
                    "Connection to {} {} port succeeded!",
                    asked.host, asked.port
                );
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            if asked.is_verbose {
                eprintln!(
                    "nc: connect to {} port {} failed: {why}",
                    asked.host, asked.port
                );
            }
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    host: String,
    port: u16,
    wait: Duration,
    is_verbose: bool,
}

fn parse(arguments: &[String]) -> Result<Asked, String> {
    let (mut is_scan, mut is_verbose, mut wait) = (false, false, WAIT);
    let mut places = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(letters) = argument
            .strip_prefix('-')
            .filter(|letters| !letters.is_empty())
        else {
            places.push(argument.as_str());
            continue;
        };
        for (at, letter) in letters.char_indices() {
            match letter {
                'z' => is_scan = true,
                'v' => is_verbose = true,
                // Never by name: names are asked for anyway, and addresses need no asking.
                'n' | '4' | '6' => {}
                'w' => {
                    let attached = letters.get(at + 1..).filter(|text| !text.is_empty());
                    let text = super::value_of("-w", attached, &mut rest)?;
                    let seconds: u64 = text
                        .parse()
                        .ok()
                        .filter(|seconds| (1..=WAIT_SECONDS_MAX).contains(seconds))
                        .ok_or(format!("-w {text} is not a number of seconds"))?;
                    wait = Duration::from_secs(seconds);
                    break;
                }
                other => {
                    return Err(format!(
                        "-{other} is not built in: here nc only looks whether a port is open (nc -z HOST PORT)"
                    ));
                }
            }
        }
    }
    if !is_scan {
        return Err("only -z is built in: nc -z HOST PORT".to_owned());
    }
    let [host, port] = places[..] else {
        return Err("give one host and one port: nc -z HOST PORT".to_owned());
    };
    let port = port.parse().map_err(|_| format!("{port} is not a port"))?;
    Ok(Asked {
        host: host.to_owned(),
        port,
        wait,
        is_verbose,
    })
}

/// Tries every address of the host.
fn connect(asked: &Asked) -> Result<(), String> {
    let addresses = (asked.host.as_str(), asked.port).to_socket_addrs();
    let mut last = "the host has no address".to_owned();
    for address in addresses.map_err(|error| error.to_string())? {
        match TcpStream::connect_timeout(&address, asked.wait) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn a_port_is_looked_at_as_health_checks_write_it() {
        let plain = asked("-z localhost 9092").unwrap();
        assert_eq!(
            (plain.port, plain.wait, plain.is_verbose),
            (9092, WAIT, false)
        );
        let full = asked("-vz -w 1 localhost 9092").unwrap();
        assert_eq!((full.wait, full.is_verbose), (Duration::from_secs(1), true));
        assert_eq!(asked("-zw2 h 1").unwrap().wait, Duration::from_secs(2));
        for (wrong, told) in [
            ("localhost 9092", "only -z"),
            ("-z localhost", "one host and one port"),
            ("-z localhost http", "http"),
            ("-zl localhost 1", "-l"),
            ("-z -w x localhost 1", "-w x"),
        ] {
            let error = asked(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
