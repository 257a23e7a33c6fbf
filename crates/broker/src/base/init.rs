//! What is to be there when a broker has started, beside what was there before. It only adds and raises.

use rustka_core::security::acl::Acl;

/// Topics, users and ACLs.
#[derive(Clone, Debug, Default)]
pub struct Init {
    /// Topics that are made where they are not, and grow where they have fewer partitions.
    pub topics: Vec<InitTopic>,
    /// Users who may log in.
    pub users: Vec<InitUser>,
    /// ACLs.
    pub acls: Vec<Acl>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitTopic {
    /// Its name.
    pub name: String,
    /// At least so many partitions; without, as many as topics have by default.
    pub partitions: Option<u32>,
    /// Its configs. One that is set to something else is a contradiction.
    pub configs: Vec<(String, String)>,
}

/// A user. One who is there with another password is a contradiction.
#[derive(Clone, PartialEq, Eq)]
pub struct InitUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for InitUser {
    /// Without the password: this must be fit for a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("InitUser").field(&self.name).finish()
    }
}

impl Init {
    /// Adds what another one asks for.
    pub fn add(&mut self, other: Init) {
        self.topics.extend(other.topics);
        self.users.extend(other.users);
        self.acls.extend(other.acls);
    }
}
