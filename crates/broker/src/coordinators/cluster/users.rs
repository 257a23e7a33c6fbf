//! Users who are let in because the broker was started with their passwords.

use super::{Answer, Cluster};
use crate::base::random;
use crate::base::start::StartError;
use rustka_core::cluster::command::{Command, Reply};
use rustka_core::security::scram::{ITERATIONS_MIN, Strength};
use rustka_core::security::users::{Upsertion, Wish};
use std::sync::Arc;

impl Cluster {
    /// Lets these users in by SCRAM, in every strength, whatever their passwords were before. Takes milliseconds for
    /// each.
    pub fn let_in(self: &Arc<Self>, users: &[(String, String)]) -> Result<(), StartError> {
        for strength in Strength::ALL {
            let wishes = users
                .iter()
                .map(|(user, password)| wish(strength, user, password));
            let answer = self.call(Command::AlterUsers(wishes.collect()));
            // Where writing takes time, they may come in a moment later.
            let Answer::Now(Reply::AlterUsers(outcomes)) = answer else {
                continue;
            };
            for (user, outcome) in outcomes {
                outcome.map_err(|refusal| {
                    let why = refusal.message.unwrap_or_default();
                    StartError::new(format!("user {} cannot log in: {why}", user.escape_debug()))
                })?;
            }
        }
        Ok(())
    }
}

fn wish(strength: Strength, user: &str, password: &str) -> Wish {
    let salt = random::salt();
    let rounds = ITERATIONS_MIN.unsigned_abs();
    Wish {
        user: user.into(),
        mechanism: strength.code(),
        upsertion: Some(Upsertion {
            iterations: ITERATIONS_MIN,
            salt: salt.into(),
            salted_password: strength.salted(password, &salt, rounds).into(),
        }),
    }
}
