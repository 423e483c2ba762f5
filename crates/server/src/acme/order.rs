//! One order: account, proof of the name, certificate.

use super::http::Http;
use super::store::Store;
use super::{AcmeError, Challenge, Desk, Settings, Tokens};
use crate::tls::{Certificates, Loaded};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::time::Duration;

/// How long the authority may take to prove a name, and to make a certificate.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// Orders a certificate, keeps it, and gives it.
pub(super) async fn order(desk: &Desk) -> Result<Loaded, AcmeError> {
    let store = Store::open(&desk.settings)?;
    let account = account(&desk.settings, &store).await?;
    let name = [Identifier::Dns(desk.settings.host.clone())];
    let mut order = account.new_order(&NewOrder::new(&name)).await?;
    // However it ends, no proof is left behind.
    let _proofs = Proofs { certificates: desk.certificates.clone(), tokens: desk.tokens.clone() };
    prove(desk, &mut order).await?;
    if order.poll_ready(&PATIENCE).await? != OrderStatus::Ready {
        return Err(AcmeError::Unproved(why(&mut order).await));
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    store.keep_certificate(&key, &chain)
}

/// The account of before, or a new one.
async fn account(settings: &Settings, store: &Store) -> Result<Account, AcmeError> {
    let builder = Account::builder_with_http(Box::new(Http::new(settings.ca_file.as_deref())?));
    if let Some(credentials) = store.account()? {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact = settings.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact = contact.as_deref().into_iter().collect::<Vec<_>>();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder.create(&new, settings.directory.clone(), None).await?;
    store.keep_account(&credentials)?;
    Ok(account)
}

/// Lays out what proves the name, and says so.
async fn prove(desk: &Desk, order: &mut Order) -> Result<(), AcmeError> {
    let wanted = desk.settings.challenge;
    let kind = match wanted {
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Challenge::Http01 => ChallengeType::Http01,
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge =
            authorization.challenge(kind.clone()).ok_or(AcmeError::NoSuchChallenge(wanted))?;
        match wanted {
            Challenge::TlsAlpn01 => {
                let host = desk.settings.host.clone();
                let proof = proof(&host, &challenge)?;
                desk.certificates.set_challenge(Some((host, proof)));
            }
            Challenge::Http01 => desk.tokens.set(&challenge.token, challenge.key_authorization().as_str()),
        }
        challenge.set_ready().await?;
    }
    Ok(())
}

/// The certificate that answers tls-alpn-01: self-signed, for the name, with the digest of the key
/// authorization.
fn proof(host: &str, challenge: &ChallengeHandle<'_>) -> Result<Arc<CertifiedKey>, AcmeError> {
    let mut params = CertificateParams::new([host.to_owned()])?;
    let digest = challenge.key_authorization().digest();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signer = ring::default_provider().key_provider.load_private_key(private);
    let signer = signer.map_err(crate::tls::TlsError::Library)?;
    // Not `from_der`: it would look whether the two fit, and trip over the extension that is the point of it.
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer)))
}

/// What the authority says about the proof.
async fn why(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        if let Some(problem) = authorization.challenges.iter().find_map(|c| c.error.as_ref()) {
            return problem.to_string();
        }
    }
    "it does not say why; does the name lead to this machine, and is the port open?".into()
}

struct Proofs {
    certificates: Arc<Certificates>,
    tokens: Arc<Tokens>,
}

impl Drop for Proofs {
    fn drop(&mut self) {
        self.certificates.set_challenge(None);
        self.tokens.clear();
    }
}
