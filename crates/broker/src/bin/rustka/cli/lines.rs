//! Lines of standard input or a file: many at a time where they come fast, each at once where somebody types them.

use std::path::Path;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

/// Lines that are handed out together, at most.
const LINES_MAX: usize = 10_000;
/// Their bytes, at most, but for one line.
const BYTES_MAX: usize = 4 << 20;
/// The longest line.
const LINE_BYTES_MAX: usize = 1 << 30;

/// Lines to come.
pub struct Lines {
    named: String,
    receiver: mpsc::Receiver<Result<Vec<u8>, String>>,
    /// One that did not fit among those handed out.
    held: Option<Vec<u8>>,
}

impl Lines {
    /// Those of a file, or of standard input. The error is a sentence.
    pub async fn of(file: Option<&Path>) -> Result<Lines, String> {
        let (input, named): (Box<dyn AsyncBufRead + Unpin + Send>, String) = match file {
            None => (
                Box::new(BufReader::new(tokio::io::stdin())),
                "standard input".to_owned(),
            ),
            Some(path) => {
                let named = path.display().to_string();
                let file = tokio::fs::File::open(path).await;
                let file = file.map_err(|error| format!("cannot read {named}: {error}"))?;
                (Box::new(BufReader::new(file)), named)
            }
        };
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        tokio::spawn(read(input, named.clone(), sender));
        Ok(Lines {
            named,
            receiver,
            held: None,
        })
    }

    /// What messages call their source.
    pub fn named(&self) -> &str {
        &self.named
    }

    /// The lines that are there, at least one; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, String> {
        let first = match self.held.take() {
            Some(line) => line,
            None => match self.receiver.recv().await {
                Some(line) => line?,
                None => return Ok(None),
            },
        };
        let mut bytes = first.len();
        let mut lines = vec![first];
        while lines.len() < LINES_MAX {
            let Ok(line) = self.receiver.try_recv() else {
                break;
            };
            let line = line?;
            bytes += line.len();
            if bytes > BYTES_MAX {
                self.held = Some(line);
                break;
            }
            lines.push(line);
        }
        Ok(Some(lines))
    }
}

/// Reads lines, without their ends, until nobody wants them or there are no more.
async fn read(
    mut input: Box<dyn AsyncBufRead + Unpin + Send>,
    named: String,
    sender: mpsc::Sender<Result<Vec<u8>, String>>,
) {
    loop {
        let mut line = Vec::new();
        let read = match input.read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) if line.len() > LINE_BYTES_MAX => Err(format!(
                "cannot read {named}: a line is longer than {LINE_BYTES_MAX} bytes"
            )),
            Ok(_) => Ok(without_end(line)),
            Err(error) => Err(format!("cannot read {named}: {error}")),
        };
        let has_ended = read.is_err();
        if sender.send(read).await.is_err() || has_ended {
            return;
        }
    }
}

fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    line
}
