//! The `rustka` command: a broker until it is told to stop, or a command that asks one.

mod cli;
mod environment;
mod flags;
mod log_filter;
mod log_queue;
mod named;
mod properties;
mod users;

use environment::Outside;
use flags::Parsed;
use log_queue::LogQueue;
use named::{Called, Start};
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
    let asked = flags::parse(start.arguments.into_iter()).and_then(|parsed| match parsed {
        Parsed::Run(flags) => {
            let outside = std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            });
            // What comes later stands in front.
            let environment = start.variables.into_iter().chain(outside);
            let options = rustka::Broker::builder();
            let mut environment = environment::read(options, flags.file.as_deref(), environment)?;
            environment.options = flags.over(environment.options);
            environment
                .options
                .check()
                .map_err(|error| error.to_string())?;
            Ok(Ok(environment))
        }
        Parsed::Print(text) => Ok(Err(text)),
    });
    let Outside { options, notes } = match asked {
        Ok(Ok(environment)) => environment,
        Ok(Err(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(sentence) => {
            eprintln!("rustka: {sentence}");
            return ExitCode::from(start.usage_code);
        }
    };
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
        tracing::info!("{note}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(options, start.ready_words)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    if let Err(sentence) = &ended {
        log.push(format!("rustka: {sentence}\n").as_bytes());
    }
    log.flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Serves until a signal says that it is enough; why it cannot, in a sentence.
async fn run(options: rustka::Options, ready_words: Option<&str>) -> Result<(), String> {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return Err("cannot listen for signals".to_owned());
    };
    let broker = options.start().map_err(|error| error.to_string())?;
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
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    broker.stop().await;
    Ok(())
}
