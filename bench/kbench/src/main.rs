//! kbench COMMAND --key value ...   One JSON object per run on standard output.
mod alter;
mod args;
mod batch;
mod compact;
mod consume;
mod consumer;
mod floor;
mod group;
mod idle;
mod latency;
mod limits;
mod login;
mod misc;
mod modern;
mod offsets;
mod one;
mod produce;
mod rights;
mod serving;
mod session;
mod small;
mod stat;
mod tls;
mod txn;
mod waiting;
mod ways;
mod wire;

fn main() {
    let mut it = std::env::args().skip(1);
    let cmd = it.next().unwrap_or_default();
    let a = args::Args::parse(it);
    // every connection of a 5,000-connection run is a descriptor
    let mut lim = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut lim);
        lim.rlim_cur = lim.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &lim);
    }
    match a.str("login", "").as_str() {
        "" => {}
        text => login::set(text),
    }
    if !matches!(
        cmd.as_str(),
        "ready" | "serving" | "limits" | "floor" | "tls-floor" | "ways" | ""
    ) {
        wire::Conn::open(&a.addr())
            .and_then(|mut c| wire::negotiate(&mut c))
            .expect("ApiVersions");
    }
    match cmd.as_str() {
        "ready" => misc::ready(&a),
        "serving" => serving::run(&a),
        "create" => misc::create(&a),
        "metadata" => misc::metadata_time(&a),
        "conns" => misc::conns(&a),
        "produce" => produce::run(&a),
        "one" => one::run(&a),
        "consume" if a.num("session", 0) != 0 => session::run(&a),
        "consume" => consume::run(&a),
        "latency" => latency::run(&a),
        "idle-fetch" => latency::idle_fetch(&a),
        "rebalance" => group::rebalance(&a),
        "idle-group" => idle::run(&a),
        "crowd" => consumer::crowd(&a),
        "pending" => offsets::pending(&a),
        "commit" => offsets::commit(&a),
        "small" => small::run(&a),
        "compact" => compact::run(&a),
        "search" => small::search(&a),
        "stall" => small::stall(&a),
        "alter" => alter::run(&a),
        "waiting" => waiting::run(&a),
        "lookup" => waiting::lookup(&a),
        "txn" => txn::run(&a),
        "logins" => login::run(&a),
        "rights" => rights::run(&a),
        "tls-bytes" => tls::bytes(&a),
        "tls-read" => tls::read(&a),
        "tls-floor" => tls::floor(&a),
        "handshakes" => tls::handshakes(&a),
        "tls-conns" => tls::conns(&a),
        "floor" => floor::run(&a),
        "limits" => limits::run(&a),
        "ways" => ways::run(&a),
        _ => {
            eprintln!(
                "commands: ready serving create metadata conns produce one consume latency idle-fetch small search stall compact \
                 rebalance idle-group crowd pending commit alter waiting lookup txn logins rights tls-bytes tls-read tls-floor handshakes tls-conns limits floor"
            );
            std::process::exit(2);
        }
    }
}
