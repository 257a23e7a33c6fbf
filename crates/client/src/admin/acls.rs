//! ACLs: making, telling, deleting. The numbers in them are Kafka's for types, patterns, operations and permissions.

use rustka_wire::create_acls_request::{AclCreation, CreateAclsRequest};
use rustka_wire::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use rustka_wire::delete_acls_response::DeleteAclsMatchingAcl;
use rustka_wire::describe_acls_request::DescribeAclsRequest;
use rustka_wire::describe_acls_response::DescribeAclsResource;

use crate::client::Client;
use crate::cluster::{check, missing};
use crate::error::Result;

impl Client {
    /// Makes these ACLs; what is there already stays.
    pub async fn create_acls(&self, acls: Vec<AclCreation<'_>>) -> Result<()> {
        let count = acls.len();
        let request = CreateAclsRequest { creations: acls };
        let answer = self.call(&request).await?;
        let told = answer.body()?;
        if told.results.len() != count {
            return Err(missing("CreateAcls"));
        }
        for result in &told.results {
            check("ACL", result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// The ACLs that fit, by what they are about.
    pub async fn describe_acls(
        &self,
        filter: &DescribeAclsRequest<'_>,
    ) -> Result<Vec<DescribeAclsResource<'static>>> {
        let answer = self.call(filter).await?;
        let told = answer.body()?.into_owned();
        check("ACLs", told.error_code, told.error_message.as_deref())?;
        Ok(told.resources)
    }

    /// Deletes the ACLs that fit one of these, and tells which they were.
    pub async fn delete_acls(
        &self,
        filters: Vec<DeleteAclsFilter<'_>>,
    ) -> Result<Vec<DeleteAclsMatchingAcl<'static>>> {
        let request = DeleteAclsRequest { filters };
        let answer = self.call(&request).await?;
        let mut deleted = Vec::new();
        for result in answer.body()?.into_owned().filter_results {
            check("ACLs", result.error_code, result.error_message.as_deref())?;
            for acl in result.matching_acls {
                check("ACL", acl.error_code, acl.error_message.as_deref())?;
                deleted.push(acl);
            }
        }
        Ok(deleted)
    }
}
