//! Whether a broker answers.

use rustka_client::Client;

use super::failure::Failure;
use super::output::{Output, Table};

/// Asks for the cluster, which a broker answers only when it serves.
pub async fn run(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let told = client.metadata(Some(&[])).await?;
    let mut table = Table::new(&["node", "host", "port", "cluster"]);
    for broker in told.brokers {
        table.push(vec![
            broker.node_id.into(),
            broker.host.into_owned().into(),
            broker.port.into(),
            told.cluster_id.as_deref().into(),
        ]);
    }
    output.table(table)
}
