//! `rustka consume`: records as lines.

use std::collections::BTreeMap;

use clap::Args;
use rustka_client::{
    Client, ConsumeOptions, Consumer, Fetched, GroupConsumer, GroupOptions, Isolation, Record,
    Start,
};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Output;
use super::topic::ends;

/// What to read.
#[derive(Args)]
pub struct ConsumeArguments {
    /// The topic.
    topic: String,
    /// Where to begin: earliest, latest, an offset, or @ and milliseconds since 1970.
    #[arg(long, value_parser = start, default_value = "earliest")]
    from: Start,
    /// Only this partition.
    #[arg(short, long)]
    partition: Option<i32>,
    /// Go on with what comes, instead of ending where the topic ends now.
    #[arg(short = 'F', long)]
    follow: bool,
    /// End after this many records.
    #[arg(short = 'n', long)]
    max: Option<u64>,
    /// Read as a member of this group, which remembers how far. Implies --follow.
    #[arg(short, long, conflicts_with = "partition")]
    group: Option<String>,
    /// Only records whose key or value contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only what is outside of transactions or was committed.
    #[arg(long)]
    committed: bool,
    /// How a record is printed: %t topic, %p partition, %o offset, %T timestamp, %k key, %s value, %h headers,
    /// %K and %S their lengths, \n and \t.
    #[arg(short = 'f', long, default_value = "%s\\n")]
    template: String,
}

/// A place as people write it.
pub fn start(text: &str) -> Result<Start, String> {
    let wrong = || format!("{text:?} is not earliest, latest, an offset, or @ and milliseconds");
    match (text, text.strip_prefix('@')) {
        ("earliest", _) => Ok(Start::Earliest),
        ("latest", _) => Ok(Start::Latest),
        (_, Some(time)) => time.parse().map(Start::Time).map_err(|_| wrong()),
        (offset, None) => match offset.parse() {
            Ok(offset) if offset >= 0 => Ok(Start::Offset(offset)),
            _ => Err(wrong()),
        },
    }
}

/// Prints the records.
pub async fn run(
    client: &Client,
    arguments: ConsumeArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let options = ConsumeOptions {
        isolation: match arguments.committed {
            true => Isolation::ReadCommitted,
            false => Isolation::ReadUncommitted,
        },
        ..ConsumeOptions::default()
    };
    let mut printer = Printer {
        left: arguments.max.unwrap_or(u64::MAX),
        arguments: &arguments,
        output,
    };
    match &arguments.group {
        Some(group) => as_member(client, group, options, &mut printer).await,
        None => alone(client, options, &mut printer).await,
    }
}

/// Reads until the given end, or until somebody presses Ctrl-C.
async fn as_member(
    client: &Client,
    group: &str,
    consume: ConsumeOptions,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    let options = GroupOptions {
        start: printer.arguments.from,
        consume,
        ..GroupOptions::default()
    };
    let topics = [printer.arguments.topic.as_str()];
    let mut member = GroupConsumer::new(client, group, &topics, options);
    while printer.left > 0 {
        let polled = tokio::select! {
            biased;
            stopped = tokio::signal::ctrl_c() => {
                stopped?;
                break;
            }
            polled = member.poll() => polled?,
        };
        if let Some(fetched) = polled
            && let Some(rest) = printer.print(&fetched)?
        {
            // Whoever comes next in this group gets what was not printed.
            member.seek(&(fetched.topic, fetched.partition), rest);
        }
    }
    Ok(member.leave().await?)
}

async fn alone(
    client: &Client,
    options: ConsumeOptions,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    let arguments = printer.arguments;
    let topic = client.topic(&arguments.topic).await?;
    let partitions: BTreeMap<i32, Start> = topic
        .partitions
        .keys()
        .filter(|&&partition| arguments.partition.is_none_or(|wanted| wanted == partition))
        .map(|&partition| (partition, arguments.from))
        .collect();
    if partitions.is_empty() {
        return Err(Failure::Usage(format!(
            "{} has partitions 0 to {}",
            arguments.topic,
            topic.partitions.len().saturating_sub(1)
        )));
    }
    // Where the topic ends now for such a reader: an open transaction holds those back who want what is committed. What
    // lies before that may have been compacted away, so positions decide and not records.
    let ends = ends(client, &topic, options.isolation).await?;
    let mut consumer = Consumer::new(client, options);
    consumer.assign(&arguments.topic, &partitions).await?;
    while printer.left > 0 {
        let positions = consumer.positions();
        let is_behind = positions
            .iter()
            .any(|((_, partition), at)| ends.get(partition).is_some_and(|(_, end)| at < end));
        if !arguments.follow && !is_behind {
            break;
        }
        if let Some(fetched) = consumer.poll().await? {
            printer.print(&fetched)?;
        }
    }
    Ok(())
}

struct Printer<'a> {
    arguments: &'a ConsumeArguments,
    output: &'a mut Output,
    /// Records still to be printed.
    left: u64,
}

impl Printer<'_> {
    /// Prints what is wanted of these; the offset of the first that there was no room for.
    fn print(&mut self, fetched: &Fetched) -> Result<Option<i64>, Failure> {
        let (mut text, mut rest) = (Vec::new(), None);
        for record in &fetched.records {
            if self.left == 0 {
                rest = Some(record.offset);
                break;
            }
            if !self.is_wanted(record) {
                continue;
            }
            self.left -= 1;
            match self.output.is_json() {
                true => text.extend(format!("{}\n", as_json(fetched, record)).into_bytes()),
                false => write_template(&self.arguments.template, fetched, record, &mut text),
            }
        }
        self.output.bytes(&text)?;
        Ok(rest)
    }

    fn is_wanted(&self, record: &Record) -> bool {
        let Some(wanted) = self
            .arguments
            .filter
            .as_deref()
            .filter(|text| !text.is_empty())
        else {
            return true;
        };
        let has = |bytes: &Option<Vec<u8>>| {
            let bytes = bytes.as_deref().unwrap_or_default();
            bytes
                .windows(wanted.len())
                .any(|part| part == wanted.as_bytes())
        };
        has(&record.key) || has(&record.value)
    }
}

/// Bytes that are no UTF-8 are shown as far as they are.
fn text_of(bytes: &Option<Vec<u8>>) -> Value {
    bytes.as_ref().map_or(Value::Null, |bytes| {
        Value::String(String::from_utf8_lossy(bytes).into_owned())
    })
}

fn as_json(fetched: &Fetched, record: &Record) -> Value {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), text_of(value)));
    json!({
        "topic": &*fetched.topic,
        "partition": fetched.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": text_of(&record.key),
        "value": text_of(&record.value),
        "headers": headers.collect::<serde_json::Map<_, _>>(),
    })
}

/// Puts a record into kcat's kind of template. What is no placeholder stands for itself.
fn write_template(template: &str, fetched: &Fetched, record: &Record, out: &mut Vec<u8>) {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.clone().unwrap_or_default();
    let length = |bytes: &Option<Vec<u8>>| {
        let length = bytes
            .as_ref()
            .map_or("-1".to_owned(), |bytes| bytes.len().to_string());
        length.into_bytes()
    };
    let mut rest = template.chars();
    while let Some(character) = rest.next() {
        let next = match character {
            '%' | '\\' => rest.next(),
            other => {
                out.extend(other.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        match (character, next) {
            ('%', Some('t')) => out.extend(fetched.topic.as_bytes()),
            ('%', Some('p')) => out.extend(fetched.partition.to_string().bytes()),
            ('%', Some('o')) => out.extend(record.offset.to_string().bytes()),
            ('%', Some('T')) => out.extend(record.timestamp.to_string().bytes()),
            ('%', Some('k')) => out.extend(bytes(&record.key)),
            ('%', Some('s')) => out.extend(bytes(&record.value)),
            ('%', Some('K')) => out.extend(length(&record.key)),
            ('%', Some('S')) => out.extend(length(&record.value)),
            ('%', Some('h')) => {
                for (at, (name, value)) in record.headers.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    out.extend(format!("{comma}{name}=").bytes());
                    out.extend(bytes(value));
                }
            }
            ('%', Some('%')) => out.push(b'%'),
            ('\\', Some('n')) => out.push(b'\n'),
            ('\\', Some('t')) => out.push(b'\t'),
            ('\\', Some('r')) => out.push(b'\r'),
            ('\\', Some('\\')) => out.push(b'\\'),
            (first, other) => {
                let both = [Some(first), other];
                out.extend(both.into_iter().flatten().collect::<String>().bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_what_kcat_would() {
        let record = Record {
            offset: 7,
            timestamp: 1_000,
            is_append_time: false,
            leader_epoch: 0,
            key: Some(b"k".to_vec()),
            value: None,
            headers: vec![
                ("a".to_owned(), Some(b"1".to_vec())),
                ("b".to_owned(), None),
            ],
        };
        let fetched = Fetched {
            topic: "t".into(),
            partition: 2,
            records: Vec::new(),
            high_watermark: 8,
        };
        let mut out = Vec::new();
        write_template(
            "%t-%p@%o %T %k[%s] %K %S %h 5%%\\t%x\\n",
            &fetched,
            &record,
            &mut out,
        );
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "t-2@7 1000 k[] 1 -1 a=1,b= 5%\t%x\n");
    }

    #[test]
    fn places_are_read_as_people_write_them() {
        assert_eq!(start("latest"), Ok(Start::Latest));
        assert_eq!(start("17"), Ok(Start::Offset(17)));
        assert_eq!(start("@1000"), Ok(Start::Time(1_000)));
        assert!(start("-5").is_err());
        assert!(start("soon").is_err_and(|why| why.contains("soon")));
    }
}
