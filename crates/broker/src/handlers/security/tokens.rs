//! CreateDelegationToken (key 38), RenewDelegationToken (key 39), ExpireDelegationToken (key 40) and
//! DescribeDelegationToken (key 41): secrets with which somebody logs in as their owner (KIP-48).
//! v2 flexible · v3 tokens for somebody else (KIP-373)

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::base::random;
use crate::handlers::answer;
use crate::node::{ANONYMOUS, Protocol};
use rustka_core::cluster::command::{Command, Reply};
use rustka_core::error::ErrorCode;
use rustka_core::security::tokens::{
    CreateToken, NAMES_BYTES_MAX, Prolonging, RENEWERS_MAX, Token,
};
use rustka_wire::codec::Writer;
use rustka_wire::create_delegation_token_request::{
    CreatableRenewers, CreateDelegationTokenRequest,
};
use rustka_wire::create_delegation_token_response::CreateDelegationTokenResponse;
use rustka_wire::describe_delegation_token_request::DescribeDelegationTokenRequest;
use rustka_wire::describe_delegation_token_response::{
    DescribeDelegationTokenResponse, DescribedDelegationToken, DescribedDelegationTokenRenewer,
};
use rustka_wire::expire_delegation_token_request::ExpireDelegationTokenRequest;
use rustka_wire::expire_delegation_token_response::ExpireDelegationTokenResponse;
use rustka_wire::renew_delegation_token_request::RenewDelegationTokenRequest;
use rustka_wire::renew_delegation_token_response::RenewDelegationTokenResponse;
use std::borrow::Cow;

/// The kind of principals that renew tokens.
const USER: &str = "User";
/// What a time is where nothing was asked of the cluster.
const NO_TIME: i64 = -1;

/// Only whoever has shown a secret of their own may ask about tokens.
fn check_login(request: &Request<'_>) -> Result<(), ErrorCode> {
    let is_anonymous = request.caller.principal() == ANONYMOUS;
    let is_known = match request.caller.listener().protocol {
        Protocol::Plaintext => false,
        Protocol::Ssl => !is_anonymous,
        Protocol::SaslPlaintext | Protocol::SaslSsl => !request.caller.is_by_token(),
    };
    match is_known {
        true => Ok(()),
        false => Err(ErrorCode::DelegationTokenRequestNotAllowed),
    }
}

/// Kind and name of a principal such as `User:alice`.
fn split(principal: &str) -> (&str, &str) {
    principal.split_once(':').unwrap_or((USER, principal))
}

/// Makes a token for whoever asks, or for somebody else whose tokens they may create.
pub fn create(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: CreateDelegationTokenRequest<'_> = request.decode()?;
    let requester: Box<str> = request.caller.principal().into();
    let owner: Box<str> = match asked.owner_principal_name.as_deref() {
        None | Some("") => requester.clone(),
        Some(name) => {
            let kind = asked.owner_principal_type.as_deref().unwrap_or("");
            format!("{kind}:{name}").into()
        }
    };
    let respond = request.respond();
    let (told_owner, told_requester) = (owner.clone(), requester.clone());
    let key = request.node.tokens.key.clone();
    let encode = move |made: Result<&Token, (ErrorCode, i64)>, w: &mut _, version| {
        let (owner_kind, owner_name) = split(&told_owner);
        let (requester_kind, requester_name) = split(&told_requester);
        let mut response = CreateDelegationTokenResponse {
            principal_type: Cow::Borrowed(owner_kind),
            principal_name: Cow::Borrowed(owner_name),
            token_requester_principal_type: Cow::Borrowed(requester_kind),
            token_requester_principal_name: Cow::Borrowed(requester_name),
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        match made {
            Ok(token) => {
                response.issue_timestamp_ms = token.issued_ms;
                response.expiry_timestamp_ms = token.expires_ms;
                response.max_timestamp_ms = token.ends_ms;
                response.token_id = Cow::Borrowed(&token.id);
                let secret = key.as_ref().map(|key| key.secret(&token.id).to_vec());
                response.hmac = Cow::Owned(secret.unwrap_or_default());
            }
            Err((code, time_ms)) => {
                response.error_code = code.code();
                response.issue_timestamp_ms = time_ms;
                response.expiry_timestamp_ms = time_ms;
                response.max_timestamp_ms = time_ms;
            }
        }
        response.encode(w, version);
    };
    if let Err(code) = check_creation(&request, &asked.renewers, &owner) {
        return Ok(request.reply(|w| encode(Err((code, NO_TIME)), w, version)));
    }
    if request.node.tokens.key.is_none() {
        let code = ErrorCode::DelegationTokenAuthDisabled;
        return Ok(request.reply(|w| encode(Err((code, 0)), w, version)));
    }
    let renewers = asked.renewers.iter();
    let renewers = renewers.map(|of| format!("{}:{}", of.principal_type, of.principal_name));
    let command = Command::CreateToken(CreateToken {
        id: random::uuid().to_string().into(),
        owner,
        requester,
        renewers: renewers.map(Box::from).collect(),
        lifetime_ms: asked.max_lifetime_ms,
        lives: request.node.tokens.lives,
        now_ms: request.node.clock.now().wall_ms,
    });
    let answer = request.parts.cluster.call(command);
    answer::respond(request.respond(), answer, move |reply, w, version| {
        let made = match reply {
            Some(Reply::CreateToken(made)) => made,
            _ => Err(ErrorCode::NotController),
        };
        let made = made.as_deref().map_err(|code| (*code, 0));
        encode(made, w, version);
    })
}

fn check_creation(
    request: &Request<'_>,
    renewers: &[CreatableRenewers<'_>],
    owner: &str,
) -> Result<(), ErrorCode> {
    check_login(request)?;
    if owner != request.caller.principal() {
        request.check(Operation::CreateTokens, Resource::User(owner))?;
    }
    if renewers
        .iter()
        .any(|renewer| renewer.principal_type != USER)
    {
        return Err(ErrorCode::InvalidPrincipalType);
    }
    let bytes: usize = renewers.iter().map(|of| of.principal_name.len()).sum();
    match renewers.len() > RENEWERS_MAX || bytes + owner.len() > NAMES_BYTES_MAX {
        true => Err(ErrorCode::InvalidRequest),
        false => Ok(()),
    }
}

/// Has a token live on.
pub fn renew(request: Request<'_>) -> Handled {
    let asked: RenewDelegationTokenRequest<'_> = request.decode()?;
    let wish = Prolonging::Renew(asked.renew_period_ms);
    prolong(
        &request,
        &asked.hmac,
        wish,
        |outcome, throttle_time_ms, w, version| {
            let (code, expiry_timestamp_ms) = outcome;
            let response = RenewDelegationTokenResponse {
                error_code: code.code(),
                expiry_timestamp_ms,
                throttle_time_ms,
            };
            response.encode(w, version);
        },
    )
}

/// Has a token end.
pub fn expire(request: Request<'_>) -> Handled {
    let asked: ExpireDelegationTokenRequest<'_> = request.decode()?;
    let wish = Prolonging::Expire(asked.expiry_time_period_ms);
    prolong(
        &request,
        &asked.hmac,
        wish,
        |outcome, throttle_time_ms, w, version| {
            let (code, expiry_timestamp_ms) = outcome;
            let response = ExpireDelegationTokenResponse {
                error_code: code.code(),
                expiry_timestamp_ms,
                throttle_time_ms,
            };
            response.encode(w, version);
        },
    )
}

/// Both of them; what is encoded is a code and when the token ends now, and the throttle time.
fn prolong(
    request: &Request<'_>,
    secret: &[u8],
    wish: Prolonging,
    encode: impl FnOnce((ErrorCode, i64), i32, &mut Writer, i16) + Send + 'static,
) -> Handled {
    let tokens = &request.node.tokens;
    let found = match check_login(request) {
        Err(code) => Err((code, NO_TIME)),
        Ok(()) if tokens.key.is_none() => Err((ErrorCode::DelegationTokenAuthDisabled, 0)),
        Ok(()) => tokens
            .id_of(secret)
            .ok_or((ErrorCode::DelegationTokenNotFound, 0)),
    };
    let respond = request.respond();
    let id = match found {
        Ok(id) => id,
        Err(refused) => {
            let throttle_time_ms = request.throttle_time_ms();
            let version = request.header.version;
            return Ok(request.reply(|w| encode(refused, throttle_time_ms, w, version)));
        }
    };
    let answer = request.parts.cluster.call(Command::ProlongToken {
        id,
        wish,
        principal: request.caller.principal().into(),
        lives: tokens.lives,
        now_ms: request.node.clock.now().wall_ms,
    });
    answer::respond(request.respond(), answer, move |reply, w, version| {
        let outcome = match reply {
            Some(Reply::ProlongToken(Ok(expires_ms))) => (ErrorCode::None, expires_ms),
            Some(Reply::ProlongToken(Err(code))) => (code, 0),
            _ => (ErrorCode::NotController, 0),
        };
        encode(outcome, respond.throttle_time_ms(), w, version);
    })
}

/// Tells of tokens with their secrets: whoever has to do with one sees it, and who may see those of others.
pub fn describe(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeDelegationTokenRequest<'_> = request.decode()?;
    let owners = asked.owners.map(|owners| {
        let owners = owners.iter();
        let owners = owners.map(|of| format!("{}:{}", of.principal_type, of.principal_name));
        owners.collect::<Vec<String>>()
    });
    let mut response = DescribeDelegationTokenResponse::default();
    let tokens = &request.node.tokens;
    let checked = check_login(&request).and_then(|()| {
        let key = tokens.key.as_ref();
        key.ok_or(ErrorCode::DelegationTokenAuthDisabled)
    });
    match checked {
        Ok(key) => {
            let asked_for = |token: &Token| match &owners {
                Some(owners) => owners.iter().any(|owner| token.concerns(owner)),
                None => true,
            };
            let shown = tokens.all().into_iter();
            let shown = shown.filter(|token| asked_for(token) && may_see(&request, token));
            response.tokens = shown
                .map(|token| described(&token, &key.secret(&token.id)))
                .collect();
        }
        Err(code) => response.error_code = code.code(),
    }
    response.throttle_time_ms = request.throttle_time_ms();
    Ok(request.reply(|w| response.encode(w, version)))
}

fn may_see(request: &Request<'_>, token: &Token) -> bool {
    token.concerns(request.caller.principal())
        || request.may(Operation::Describe, Resource::DelegationToken(&token.id))
        || request.may(Operation::DescribeTokens, Resource::User(&token.owner))
}

fn described(token: &Token, secret: &[u8]) -> DescribedDelegationToken<'static> {
    let owned = |text: &str| Cow::<'static, str>::Owned(text.to_owned());
    let (owner_kind, owner_name) = split(&token.owner);
    let (requester_kind, requester_name) = split(&token.requester);
    let renewers = token.renewers.iter().map(|renewer| {
        let (kind, name) = split(renewer);
        DescribedDelegationTokenRenewer {
            principal_type: owned(kind),
            principal_name: owned(name),
        }
    });
    DescribedDelegationToken {
        principal_type: owned(owner_kind),
        principal_name: owned(owner_name),
        token_requester_principal_type: owned(requester_kind),
        token_requester_principal_name: owned(requester_name),
        issue_timestamp: token.issued_ms,
        expiry_timestamp: token.expires_ms,
        max_timestamp: token.ends_ms,
        token_id: owned(&token.id),
        hmac: Cow::Owned(secret.to_vec()),
        renewers: renewers.collect(),
    }
}
