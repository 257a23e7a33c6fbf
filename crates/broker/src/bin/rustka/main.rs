//! The `rustka` command: a broker until it is told to stop, or a command that asks one.

mod cli;
mod files;
mod flags;
mod log_filter;
mod log_queue;
mod named;
mod properties;
mod settings;
mod users;

use flags::Parsed;
use log_queue::LogQueue;
use named::{Called, Start};
use rustka::StartError;
use settings::{Resolved, Settings};
use std::io::Write;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

// glibc's allocator packs frames tightly and does not ask for huge pages, whose clearing costs more than they save.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match named::called(std::env::args_os()) {
        Called::Broker(start) if start.is_command() => cli::run(std::env::args_os()),
        Called::Broker(start) => serve(start),
        Called::Done(code) => code,
    }
}

/// Runs a broker until it is told to stop, or prints what was asked for instead.
fn serve(start: Start) -> ExitCode {
    rustka::base::heap::keep_tight();
    let flags = match flags::parse(start.arguments.into_iter()) {
        Parsed::Run(flags) => flags,
        Parsed::Print(text) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
    };
    let Resolved {
        options,
        mistakes,
        notes,
        ..
    } = Settings::collect(flags, start.variables).resolve();
    if !mistakes.is_empty() {
        for mistake in mistakes {
            eprintln!("rustka: {mistake}");
        }
        return ExitCode::from(start.usage_code);
    }
    let log = match LogQueue::start(std::io::stderr()) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("rustka: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    // From here on nothing else writes to stderr, which may be a pipe that nobody reads.
    let options = options.log_control(log_filter::install(LevelFilter::INFO, &log));
    for note in notes {
        match note.is_warning {
            true => tracing::warn!("{}", note.text),
            false => tracing::info!("{}", note.text),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(options, start.ready_words)),
        Err(error) => Err(StartError::new(format!("cannot start: {error}"))),
    };
    if let Err(error) = &ended {
        log.push(format!("rustka: {error}\n").as_bytes());
    }
    log.flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_contradiction() => ExitCode::from(start.usage_code),
        Err(_) => ExitCode::FAILURE,
    }
}

/// By it the system ends whoever writes more into a file than it may, unless that is taken; then the write fails. It has
/// this number on all systems on which Rustka is built.
const FILE_TOO_LARGE: i32 = 25;

/// Serves until a signal says that it is enough; why it cannot, in a sentence.
async fn run(options: rustka::Options, ready_words: Option<&str>) -> Result<(), StartError> {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::from_raw(FILE_TOO_LARGE)),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(_taken)) = signals else {
        return Err(StartError::new("cannot listen for signals"));
    };
    let broker = options.start()?;
    let mut line = format!(
        "{{\"ready\":true,\"bootstrap\":\"{}\",\"http\":\"{}\",\"node_id\":{},\"version\":\"{}\"}}\n",
        broker.bootstrap(),
        broker
            .http()
            .map_or_else(String::new, |address| address.to_string()),
        broker.node_id(),
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(authority) = broker.authority() {
        line.push_str(authority);
    }
    if let Some(words) = ready_words {
        line.push_str(words);
        line.push('\n');
    }
    let mut stdout = std::io::stdout().lock();
    // Whoever started us may have closed its end; a broker serves all the same.
    if let Err(error) = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush())
    {
        tracing::debug!("nobody reads the ready line: {error}");
    }
    drop(stdout);
    // Most of what was needed to start is not needed again.
    rustka::base::heap::let_go_of_program();
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    broker.stop().await;
    Ok(())
}
