//! Users who log in by SCRAM.

use rustka_core::error::ErrorCode;
use rustka_core::security::scram::Strength;
use rustka_wire::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use rustka_wire::describe_user_scram_credentials_request::{
    DescribeUserScramCredentialsRequest, UserName,
};

use crate::client::Client;
use crate::cluster::check;
use crate::error::Result;

/// A change to a user's way of logging in.
#[derive(Clone, Debug)]
pub struct ScramChange<'a> {
    /// How the password is proved.
    pub strength: Strength,
    /// The new password; without one the user cannot log in so any more.
    pub password: Option<NewPassword<'a>>,
}

/// A password, which does not leave this process as it is.
#[derive(Clone)]
pub struct NewPassword<'a> {
    /// The password.
    pub password: &'a str,
    /// Random bytes.
    pub salt: &'a [u8],
    /// How often it is hashed.
    pub iterations: u32,
}

impl std::fmt::Debug for NewPassword<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a password with {} iterations", self.iterations)
    }
}

impl Client {
    /// The users who log in by SCRAM, or only these, each with strengths and iterations. One that is not there is left out.
    pub async fn describe_users(
        &self,
        names: Option<&[&str]>,
    ) -> Result<Vec<(String, Vec<(Strength, i32)>)>> {
        let request = DescribeUserScramCredentialsRequest {
            users: names.map(|names| {
                let names = names.iter();
                names
                    .map(|name| UserName {
                        name: (*name).into(),
                    })
                    .collect()
            }),
        };
        let answer = self.call(&request).await?;
        let told = answer.body()?;
        check("users", told.error_code, told.error_message.as_deref())?;
        let mut users = Vec::new();
        for user in told.results {
            if user.error_code == ErrorCode::ResourceNotFound.code() {
                continue;
            }
            let about = format!("user {}", user.user);
            check(&about, user.error_code, user.error_message.as_deref())?;
            let known = user.credential_infos.iter().filter_map(|info| {
                let strength = Strength::from_code(info.mechanism)?;
                Some((strength, info.iterations))
            });
            users.push((user.user.into_owned(), known.collect()));
        }
        Ok(users)
    }

    /// Changes how a user logs in.
    pub async fn alter_user(&self, name: &str, changes: &[ScramChange<'_>]) -> Result<()> {
        let (mut deletions, mut upsertions) = (Vec::new(), Vec::new());
        for change in changes {
            let mechanism = change.strength.code();
            match &change.password {
                None => deletions.push(ScramCredentialDeletion {
                    name: name.into(),
                    mechanism,
                }),
                Some(new) => upsertions.push(ScramCredentialUpsertion {
                    name: name.into(),
                    mechanism,
                    iterations: i32::try_from(new.iterations).unwrap_or(i32::MAX),
                    salt: new.salt.into(),
                    salted_password: change
                        .strength
                        .salted(new.password, new.salt, new.iterations)
                        .into(),
                }),
            }
        }
        let request = AlterUserScramCredentialsRequest {
            deletions,
            upsertions,
        };
        let answer = self.call(&request).await?;
        for user in answer.body()?.results {
            let about = format!("user {}", user.user);
            check(&about, user.error_code, user.error_message.as_deref())?;
        }
        Ok(())
    }
}
