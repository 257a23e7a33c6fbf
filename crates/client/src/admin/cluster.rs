//! The cluster itself: its brokers, and where they keep what.

use rustka_wire::describe_cluster_request::DescribeClusterRequest;
use rustka_wire::describe_cluster_response::DescribeClusterResponse;
use rustka_wire::describe_log_dirs_request::DescribeLogDirsRequest;
use rustka_wire::describe_log_dirs_response::DescribeLogDirsResult;

use super::ANY;
use crate::client::{Client, To};
use crate::cluster::check;
use crate::error::Result;

impl Client {
    /// The cluster's id, its brokers and its controller.
    pub async fn describe_cluster(&self) -> Result<DescribeClusterResponse<'static>> {
        let answer = self.call(&DescribeClusterRequest::default()).await?;
        let told = answer.body()?;
        check(
            "DescribeCluster",
            told.error_code,
            told.error_message.as_deref(),
        )?;
        Ok(told.into_owned())
    }

    /// The log directories of a broker, with the size of every partition in them.
    pub async fn describe_log_dirs(
        &self,
        node: i32,
    ) -> Result<Vec<DescribeLogDirsResult<'static>>> {
        let request = DescribeLogDirsRequest { topics: None };
        let answer = self.call_at(To::Node(node), ANY, &request).await?;
        let told = answer.body()?;
        check("DescribeLogDirs", told.error_code, None)?;
        let directories = told.results.into_iter().map(|directory| {
            let about = format!("log directory {}", directory.log_dir);
            check(&about, directory.error_code, None)?;
            Ok(directory.into_owned())
        });
        directories.collect()
    }
}
