//! Configs that would be dangerous to ignore: somebody relies on what they do, and it is not done here. A broker that is
//! given one of them does not start.

/// What a key asks for that would be missed, and the values with which nothing is asked for.
struct Danger {
    /// The key, of all listeners or at the end of one listener's.
    key: &'static str,
    /// What is harmless beside an empty value.
    harmless: &'static [&'static str],
    /// What would go wrong.
    why: &'static str,
}

const POLICY: &str =
    "no class is loaded here, so that what the policy forbids would be done: use ACLs";

const DANGERS: &[Danger] = &[
    Danger {
        key: "alter.config.policy.class.name",
        harmless: &[],
        why: POLICY,
    },
    Danger {
        key: "client.quota.callback.class",
        harmless: &[],
        why: "no class is loaded here, so that its quotas would not hold: set them with kafka-configs",
    },
    Danger {
        key: "config.providers",
        harmless: &[],
        why: "values such as ${file:…} would be taken as they are, secrets too: write the values themselves",
    },
    Danger {
        key: "create.topic.policy.class.name",
        harmless: &[],
        why: POLICY,
    },
    Danger {
        key: "principal.builder.class",
        harmless: &["org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"],
        why: "no class is loaded here, so that clients would have other names than it gives them: use ssl.principal.mapping.rules",
    },
    Danger {
        key: "remote.log.storage.system.enable",
        harmless: &["false"],
        why: "records would never come to the remote storage: expected false",
    },
    Danger {
        key: "sasl.server.callback.handler.class",
        harmless: &[
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
            "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerValidatorCallbackHandler",
            "org.apache.kafka.common.security.plain.internals.PlainServerCallbackHandler",
        ],
        why: "no class is loaded here, so that others would log in than it lets in: name the users in sasl.jaas.config",
    },
    Danger {
        key: "security.providers",
        harmless: &[],
        why: "no class is loaded here, so that the encryption would be another one",
    },
    Danger {
        key: "ssl.engine.factory.class",
        harmless: &["org.apache.kafka.common.security.ssl.DefaultSslEngineFactory"],
        why: "no class is loaded here, so that other certificates would be trusted: use ssl.keystore.location and ssl.truststore.location",
    },
];

/// Why a broker must not start with this value, if it must not.
pub fn danger(key: &str, value: &str) -> Option<String> {
    let value = value.trim();
    let is_of = |name: &str| match key.strip_suffix(name) {
        Some(rest) => rest.is_empty() || rest.starts_with("listener.name.") && rest.ends_with('.'),
        None => false,
    };
    let danger = DANGERS.iter().find(|danger| is_of(danger.key))?;
    if value.is_empty() || danger.harmless.contains(&value) {
        return None;
    }
    let value = super::shorten(value);
    Some(format!("{key} is '{value}': {}", danger.why))
}

#[cfg(test)]
mod tests {
    use super::super::table::{Scope, find_key};
    use super::*;

    #[test]
    fn what_must_not_be_ignored_is_told_with_a_way_out() {
        let told = danger("config.providers", "file").unwrap();
        assert!(told.starts_with("config.providers is 'file': "), "{told}");
        let own = "listener.name.outside.plain.sasl.server.callback.handler.class";
        assert!(danger(own, "com.example.Ldap").unwrap().starts_with(own));
        assert_eq!(danger("config.providers", " "), None);
        assert_eq!(danger("remote.log.storage.system.enable", "false"), None);
        assert_eq!(danger("num.partitions", "3"), None);
        assert_eq!(danger("xprincipal.builder.class", "a.B"), None);
    }

    #[test]
    fn they_are_kafkas_keys_and_harmless_by_default() {
        for one in DANGERS {
            let key = find_key(Scope::Broker, one.key).unwrap();
            assert_eq!(danger(one.key, key.default_value().unwrap_or("")), None);
        }
    }
}
