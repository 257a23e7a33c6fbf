//! Keeps the tasks alive that live as long as the broker. A panic in one of them is a mistake of ours and ends only what
//! it was doing: it is logged, counted and told to observers, and the task starts again, after pauses that grow while
//! it goes on failing. `/readyz` tells of it until the task has run for as long as it had to pause.

use crate::base::fault::Point;
use crate::base::hooks::Event;
use crate::node::{Node, State, reached};
use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

/// Pause after the first panic; each further one doubles it.
const PAUSE_MS_MIN: i64 = 100;
/// The longest pause.
const PAUSE_MS_MAX: i64 = 30_000;
/// After a panic of a task that had run for so long, the pauses begin anew.
const STEADY_MS: i64 = 60_000;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs what `start` makes until it ends by itself, which it does when the broker stops, and makes it anew after each
/// panic. To be called within the broker's runtime.
pub fn keep<F>(
    node: &Arc<Node>,
    name: impl Into<Arc<str>>,
    start: impl Fn() -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (node, name) = (node.clone(), name.into());
    tokio::spawn(async move {
        let start = || -> Task { Box::pin(start()) };
        supervise(&node, &name, &start).await;
    });
}

async fn supervise(node: &Node, name: &Arc<str>, start: &(dyn Fn() -> Task + Send + Sync)) {
    let clock = &node.clock;
    let mut pause_ms = 0;
    loop {
        let began_ms = clock.monotonic_ms();
        let mut run = Box::pin(guarded(node, name, start));
        let mut ended = None;
        if pause_ms > 0 {
            tokio::select! {
                biased;
                result = &mut run => ended = Some(result),
                () = clock.sleep_until(began_ms.saturating_add(pause_ms)) => {}
            }
        }
        let ended = match ended {
            Some(ended) => ended,
            None => {
                node.health.recovers(name);
                run.await
            }
        };
        let Err(panic) = ended else {
            return;
        };
        let now_ms = clock.monotonic_ms();
        pause_ms = match now_ms.saturating_sub(began_ms) {
            STEADY_MS.. => PAUSE_MS_MIN,
            _ => (pause_ms * 2).clamp(PAUSE_MS_MIN, PAUSE_MS_MAX),
        };
        fails(node, name, &panic, pause_ms);
        if !pause(node, now_ms.saturating_add(pause_ms)).await {
            return;
        }
    }
}

/// Polls the task; a panic of it, also while it is made or dropped, is an error in words.
async fn guarded(
    node: &Node,
    name: &str,
    start: &(dyn Fn() -> Task + Send + Sync),
) -> Result<(), String> {
    let mut task = catch_unwind(AssertUnwindSafe(start))
        .map(Some)
        .map_err(words)?;
    let ended = poll_fn(|cx| {
        let Some(running) = &mut task else {
            return Poll::Ready(Ok(()));
        };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            node.faults.panic_point(Point::Task, name);
            running.as_mut().poll(cx)
        }));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(words(panic))),
        }
    });
    let ended = ended.await;
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(task.take())));
    ended.and(dropped.map_err(words))
}

fn words(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

fn fails(node: &Node, name: &Arc<str>, panic: &str, pause_ms: i64) {
    node.health.fails(name);
    node.metrics.task_panics.fetch_add(1, Relaxed);
    tracing::error!(
        target: "rustka::supervise",
        "{name} failed unexpectedly and starts again in {pause_ms} ms; this is a bug in Rustka: {panic:?}"
    );
    let what = format!("{name} failed unexpectedly and starts again");
    node.hooks.saw(|| Event::Failed(&what));
}

/// Waits until it is time to start again; at once when the broker begins to stop, so that the task can end in order.
/// False when there is nothing left to start it for.
async fn pause(node: &Node, until_ms: i64) -> bool {
    let mut state = node.state.subscribe();
    let stopping = *state.borrow() >= State::Stopping;
    let cut_short = match stopping {
        // It has had its chance to end in order.
        true => State::Stopped,
        false => State::Stopping,
    };
    tokio::select! {
        biased;
        () = reached(&mut state, |state| state >= cut_short) => {}
        () = node.clock.sleep_until(until_ms) => {}
    }
    *state.borrow() != State::Stopped
}
