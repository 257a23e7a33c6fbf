//! The one table of the API's routes: dispatch, `openapi.json` and tests read it.

use super::Http;
use super::answer::{Answer, set, with};
use super::api::*;
use super::ask::{Ask, Asked, Viewer, body};
use super::input::{Query, decode};
use super::live;
use super::problem::Problem;
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Answering = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// Whoever asks while partitions are being opened waits so long.
const OPENING_MS: i64 = 10_000;

/// One route.
pub struct Route {
    /// The method; all but GET change something.
    pub method: Method,
    /// The path, with a name in braces where anything may stand.
    pub path: &'static str,
    /// The parameters it knows.
    pub query: &'static [&'static str],
    /// Whether those who have not logged in may ask, too.
    pub is_open: bool,
    /// After how many seconds those who watch its answer are told of a change; none where it cannot be watched.
    pub watched_s: Option<u32>,
    handler: fn(Ask) -> Answering,
}

macro_rules! routes {
    ($($method:ident $path:literal $([$($query:literal),*])? $(open $open:literal)? $(every $seconds:literal)? => $handler:path;)*) => {
        /// Every route of the API.
        pub static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            query: &[$($($query),*)?],
            is_open: false $(|| $open)?,
            watched_s: [$($seconds,)?].first().copied(),
            handler: |ask| Box::pin($handler(ask)),
        }),*];
    };
}

routes! {
    GET "/api/v1/session" open true => session::show;
    POST "/api/v1/session" open true => session::begin;
    DELETE "/api/v1/session" open true => session::end;
    GET "/api/v1/overview" every 1 => overview::show;
    GET "/api/v1/history" ["range", "since"] every 1 => overview::history;
    GET "/api/v1/events" ["watch"] => live::events;
    GET "/api/v1/openapi.json" open true => openapi;
    GET "/api/v1/topics" ["search", "sort", "order", "from", "limit", "internal"] every 1 => topics::list;
    POST "/api/v1/topics" => changes::create;
    GET "/api/v1/topics/{topic}" ["from", "limit"] every 1 => topics::show;
    GET "/api/v1/topics/{topic}/history" ["since"] every 1 => topics::history;
    DELETE "/api/v1/topics/{topic}" => changes::delete;
    POST "/api/v1/topics/{topic}/partitions" => changes::add_partitions;
    POST "/api/v1/topics/{topic}/empty" => changes::empty;
    POST "/api/v1/topics/{topic}/skip-damaged" => damaged::skip;
    GET "/api/v1/topics/{topic}/configs" every 3 => configs::of_topic;
    PATCH "/api/v1/topics/{topic}/configs" => configs::alter_topic;
    GET "/api/v1/topics/{topic}/retention" every 1 => retention::show;
    GET "/api/v1/topics/{topic}/tail" ["partition", "filter"] => streams::tail;
    GET "/api/v1/topics/{topic}/export" ["format", "partition", "start", "limit", "filter"] => streams::export;
    GET "/api/v1/groups" ["search", "sort", "order", "from", "limit", "topic"] every 1 => groups::list;
    GET "/api/v1/groups/{group}" every 1 => groups::show;
    GET "/api/v1/groups/{group}/history" ["since"] every 1 => groups::history;
    DELETE "/api/v1/groups/{group}" => groups::delete;
    GET "/api/v1/groups/{group}/timeline" every 1 => groups::timeline;
    POST "/api/v1/groups/{group}/offsets" => groups_lag::reset;
    DELETE "/api/v1/groups/{group}/offsets" ["topic"] => groups_lag::forget;
    GET "/api/v1/transactions" ["search", "state", "from", "limit"] every 1 => transactions::list;
    POST "/api/v1/transactions/hanging/abort" => transactions::abort_hanging;
    POST "/api/v1/transactions/{id}/abort" => transactions::abort;
    GET "/api/v1/clients" ["search", "sort", "order", "from", "limit"] every 1 => clients::list;
    DELETE "/api/v1/clients/{connection}" => clients::close;
    GET "/api/v1/requests" ["limit", "connection", "api", "client", "errors"] every 1 => requests::list;
    GET "/api/v1/requests/export" ["connection", "api", "client", "errors"] => requests::export;
    POST "/api/v1/requests/recording" => requests::switch;
    GET "/api/v1/requests/{number}" => requests::show;
    GET "/api/v1/users" every 3 => security::users;
    POST "/api/v1/users" => security::put_user;
    DELETE "/api/v1/users/{user}" => security::delete_user;
    GET "/api/v1/acls" every 3 => security::acls;
    POST "/api/v1/acls" => security::add_acl;
    POST "/api/v1/acls/delete" => security::delete_acl;
    GET "/api/v1/quotas" every 3 => quotas::list;
    POST "/api/v1/quotas" => quotas::alter;
    GET "/api/v1/cleanup" every 3 => cleanup::preview;
    POST "/api/v1/cleanup/empty-topics" => cleanup::remove_empty;
    POST "/api/v1/cleanup/all-messages" => cleanup::clear_all;
    GET "/api/metrics" => cleanup::metrics;
    GET "/api/memory-stats" => cleanup::memory_stats;
    POST "/api/cleanup/empty-topics" => cleanup::remove_empty;
    POST "/api/cleanup/all-messages" => cleanup::clear_all;
    GET "/api/v1/configs" every 3 => configs::of_broker;
    PATCH "/api/v1/configs" => configs::alter_broker;
    POST "/api/v1/topics/{topic}/records" => writing::produce;
    GET "/api/v1/topics/{topic}/records" ["partition", "start", "limit", "filter", "cursor"] => records::browse;
    GET "/api/v1/topics/{topic}/records/{partition}/{offset}" ["part"] => records::one;
}

/// The description of all of it for programs.
async fn openapi(_: Ask) -> Result<Answer, Problem> {
    let told = include_str!("openapi.json");
    Ok(with(StatusCode::OK, "application/json", told))
}

/// What becomes of a request for a path below /api/.
pub async fn answer(asked: Asked, http: Arc<Http>) -> Answer {
    match serve(asked, http).await {
        Ok(answer) => answer,
        Err(problem) => problem.answer(),
    }
}

/// After a start pages tell of what there is once all of it is known.
async fn all_opened(http: &Http) -> Result<(), Problem> {
    let node = http.node();
    let until_ms = node.clock.monotonic_ms().saturating_add(OPENING_MS);
    tokio::select! {
        biased;
        () = node.all_opened() => return Ok(()),
        () = node.clock.sleep_until(until_ms) => {}
    }
    let left = node.opener.left();
    let sentence = format!("{left} partitions are still being opened after the start: ask again");
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, sentence))
}

async fn serve(asked: Asked, http: Arc<Http>) -> Result<Answer, Problem> {
    let Asked { request, address } = asked;
    http.guard.check_origin(&request)?;
    let (head, incoming) = request.into_parts();
    let method = match head.method {
        Method::HEAD => Method::GET,
        method => method,
    };
    let (route, path) = match find(&method, head.uri.path()) {
        Found::Route(route, path) => (route, path),
        Found::Nothing => {
            let sentence = "no such page of the API; /api/v1/openapi.json lists them";
            return Err(Problem::missing(sentence));
        }
        Found::OtherMethods(methods) => return Ok(not_allowed(&methods)),
    };
    let who = match http.guard.who(&head.headers, address, http.node()) {
        Ok(who) => who,
        Err(problem) if !route.is_open => return Err(problem),
        Err(_) => super::guard::Who {
            principal: String::new(),
            read_only: None,
        },
    };
    if !route.is_open {
        http.guard.check_change(&method, &who)?;
        all_opened(&http).await?;
    }
    let query = Query::parse(head.uri.query().unwrap_or(""), route.query)?;
    let body = body(&head.headers, incoming).await?;
    let headers = head.headers;
    (route.handler)(Ask {
        http,
        who,
        address,
        headers,
        path,
        query,
        body,
    })
    .await
}

/// A route with its parameters, to be asked again and again.
pub struct Watched {
    route: &'static Route,
    path: Vec<String>,
    query: Query,
}

impl Watched {
    /// What is asked for by a path below /api/v1 and a query, such as `/topics?limit=10`.
    pub fn parse(asked: &str) -> Result<Watched, Problem> {
        let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
        let Found::Route(route, path) = find(&Method::GET, &format!("/api/v1{path}")) else {
            return Err(Problem::missing(format!("there is no {asked:?} to watch")));
        };
        if route.watched_s.is_none() {
            return Err(Problem::bad(format!("{asked:?} cannot be watched")));
        }
        let query = Query::parse(query, route.query)?;
        Ok(Watched { route, path, query })
    }

    /// Between two looks.
    pub fn every_ms(&self) -> i64 {
        i64::from(self.route.watched_s.unwrap_or(1)) * 1_000
    }

    /// Whether it can tell only what is new since the `next` of its answer before.
    pub fn tells_news(&self) -> bool {
        self.route.query.contains(&"since")
    }

    /// Has it tell only what is new since then.
    pub fn go_on(&mut self, next: &str) {
        self.query.set("since", next);
    }

    /// Asks, with the rights that whoever watches has now.
    pub async fn ask(&self, viewer: &Viewer) -> Result<Answer, Problem> {
        let who = viewer.who()?;
        let ask = Ask {
            http: viewer.http.clone(),
            who,
            address: viewer.address,
            headers: viewer.headers.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            body: Bytes::new(),
        };
        (self.route.handler)(ask).await
    }
}

enum Found {
    Route(&'static Route, Vec<String>),
    OtherMethods(Vec<&'static str>),
    Nothing,
}

fn find(method: &Method, path: &str) -> Found {
    let mut others = Vec::new();
    for route in ROUTES {
        let Some(names) = names(route.path, path) else {
            continue;
        };
        if route.method == *method {
            return Found::Route(route, names);
        }
        others.push(route.method.as_str());
    }
    match others.is_empty() {
        true => Found::Nothing,
        false => Found::OtherMethods(others),
    }
}

/// What stands where the route has braces, if the path is of this route.
fn names(route: &str, path: &str) -> Option<Vec<String>> {
    let (mut parts, mut names) = (path.split('/'), Vec::new());
    for expected in route.split('/') {
        let part = parts.next()?;
        if expected.starts_with('{') {
            names.push(decode(part, false).filter(|name| !name.is_empty())?);
        } else if part != expected {
            return None;
        }
    }
    parts.next().is_none().then_some(names)
}

fn not_allowed(methods: &[&'static str]) -> Answer {
    let list = methods.join(", ");
    let sentence = format!("this method is not served here, but {list}");
    let mut answer = Problem::new(StatusCode::METHOD_NOT_ALLOWED, sentence).answer();
    if let Ok(value) = list.parse() {
        answer.headers_mut().insert("allow", value);
    }
    set(answer.headers_mut(), "cache-control", "no-store");
    answer
}
